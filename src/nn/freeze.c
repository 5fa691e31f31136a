/* freeze.c - what transfer needs of a module: its parameters in groups by depth, and some of them
 * left as they are (Yosinski et al., "How transferable are features in deep neural networks?",
 * 2014).
 */
#include "nn/module.h"

#include <limits.h>
#include <string.h>

/* ---- groups ---- */

/* Whether a parameter's name is that of start, or below it: "fc" and "fc.weight", not "fc2.weight".
 */
static bool is_at(const char *name, const char *start) {
    size_t length = strlen(start);
    return strncmp(name, start, length) == 0 && (name[length] == '.' || name[length] == '\0');
}

/* Where each group begins, into begin. */
static kn_status find_starts(kn_ctx *ctx, const kn_named_list *all, const char *const *start,
                             int count, int *begin) {
    int at = 0;
    for (int s = 0; s < count; s++) {
        at += s > 0; /* a group has a parameter at least */
        while (at < all->count && !is_at(all->item[at].name, start[s]))
            at++;
        if (at == all->count)
            return kn_fail(ctx, KN_ERR_ARG, "split: there is no parameter at \"%s\"%s%s%s",
                           start[s], s > 0 ? " after the first at \"" : "",
                           s > 0 ? start[s - 1] : "", s > 0 ? "\"" : "");
        begin[s] = at;
    }
    return KN_OK;
}

kn_status kn_module_split(kn_module *m, const char *const *start, int count) {
    if (m == NULL)
        return KN_ERR_STATE;
    kn_ctx *ctx = m->state->ctx;
    if (count >= KN_MAX_GROUPS)
        return kn_fail(ctx, KN_ERR_LIMIT, "split: %d groups, an optimizer has at most %d",
                       count + 1, KN_MAX_GROUPS);
    kn_named_list all;
    kn_status status = kn_module_parameters(m, &all);
    if (status != KN_OK)
        return status;
    int *begin = kn_calloc(ctx, (size_t)count + 1, sizeof *begin, "groups");
    status = begin != NULL ? find_starts(ctx, &all, start, count, begin) : KN_ERR_MEMORY;
    for (int i = 0, group = 0; i < all.count && status == KN_OK; i++) {
        while (group < count && begin[group] <= i)
            group++;
        kn_param_set_group(all.item[i].param, group);
    }
    kn_free(ctx, begin);
    kn_named_free(ctx, &all);
    return status;
}

int kn_module_groups(kn_module *m) {
    kn_named_list all;
    int groups = 1;
    if (kn_module_parameters(m, &all) != KN_OK)
        return 0;
    for (int i = 0; i < all.count; i++)
        if (kn_param_group(all.item[i].param) >= groups)
            groups = kn_param_group(all.item[i].param) + 1;
    kn_named_free(m->state->ctx, &all);
    return groups;
}

/* ---- freezing ---- */

typedef struct freezing {
    int below; /* groups below it are frozen */
    bool norm;
} freezing;

static void visit(kn_module *m, freezing f) {
    struct kn_module_state *s = m->state;
    bool spared = m->cls->norm && !f.norm, any = false;
    for (size_t i = 0; i < s->params.count; i++) {
        kn_param *p = s->params.item[i].thing;
        bool frozen = kn_param_group(p) < f.below;
        kn_param_freeze(p, frozen && !spared);
        any = any || frozen;
    }
    bool was = s->frozen_norm;
    s->frozen_norm = m->cls->norm && f.norm && any;
    if (s->frozen_norm)
        s->training = false;
    else if (was) /* as the rest is */
        s->training = s->parent == NULL || s->parent->state->training;
    for (size_t i = 0; i < s->children.count; i++)
        visit(s->children.item[i].thing, f);
}

void kn_module_freeze_below(kn_module *m, int group, kn_freeze_opts opts) {
    if (m == NULL)
        return;
    visit(m, (freezing){.below = group, .norm = opts.norm});
}

void kn_module_freeze(kn_module *m, bool frozen, kn_freeze_opts opts) {
    if (m == NULL)
        return;
    visit(m, (freezing){.below = frozen ? INT_MAX : 0, .norm = opts.norm});
}
