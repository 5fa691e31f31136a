/* history_line.c - see history_line.h. */
#include "learner/history_line.h"

void kn_history_line(kn_text *t, const kn_history_row *row) {
    const struct {
        const char *key;
        double value;
    } member[] = {{"train_loss", row->train_loss},
                  {"train_acc", row->train_acc},
                  {"valid_loss", row->valid_loss},
                  {"valid_acc", row->valid_acc},
                  {"lr", row->lr},
                  {"seconds", row->seconds},
                  {"train_img_per_s", row->train_img_per_s}};
    kn_text_printf(t, "{\"event\":\"epoch\",\"epoch\":%d", row->epoch);
    for (size_t i = 0; i < KN_COUNT(member); i++) {
        kn_text_printf(t, ",\"%s\":", member[i].key);
        kn_text_number(t, member[i].value, 9);
    }
    kn_text_append(t, "}\n", 2);
}
