/* commands.c - the table of commands: what each takes, and the examples that its help begins with.
 */
#include "args.h"

#include <limits.h>
#include <string.h>

#define DATA_TEXT                                                                                  \
    "DATA is a folder with train/ and one of val/, valid/, validation/, each with a folder per\n"  \
    "class; or a folder of class folders, of which a part is held out to validate on; or a "       \
    "name:\n"                                                                                      \
    "shapes, pictures that Kiln draws itself, or imagenette-160 and others that kiln-download\n"   \
    "--list shows, which are fetched the first time.\n"

#define HELD_OUT_TEXT                                                                              \
    "Without a validation folder all its pictures count; if they are those that the model was\n"   \
    "trained on, only the part that was held out does.\n"

#define MODEL_TEXT                                                                                 \
    "MODEL is the model.safetensors of a run folder. Bare weights, which hold no classes and no\n" \
    "preprocessing, are given as --weights FILE --model NAME in its place.\n"

static const command table[] = {
    {.name = "train",
     .id = CMD_TRAIN,
     .words = "DATA|--resume RUN",
     .summary = "train a model; writes a run folder",
     .examples =
         "  kiln train photos                    photos/CLASS/*.jpg; results in runs/1\n"
         "  kiln train photos -o flowers         results in flowers\n"
         "  kiln train photos --recipe best      takes more time for a better model\n"
         "  kiln train shapes --recipe chapter   pictures that Kiln draws itself, in seconds\n"
         "  kiln train photos --json >log.jsonl  for programs\n"
         "  kiln train --resume runs/1           goes on where that run was stopped\n",
     .details = DATA_TEXT
     "Ctrl-C ends the batch, saves and says how to go on; so does SIGTERM. SIGUSR1 saves and goes\n"
     "on. However a run ended, --resume brings it to the same weights, bit for bit.\n",
     .min_words = 1,
     .max_words = 1},
    {.name = "predict",
     .id = CMD_PREDICT,
     .words = "MODEL IMAGE|FOLDER...",
     .summary = "label and probability of each picture",
     .examples = "  kiln predict runs/1/model.safetensors cat.jpg dog.png\n"
                 "  kiln predict runs/1/model.safetensors photos/new --json\n"
                 "  kiln predict runs/1/model.safetensors photos/new --top 3\n",
     .details = MODEL_TEXT
     "A picture that cannot be read is named, the others follow, and the exit code is 3.\n",
     .min_words = 2,
     .max_words = INT_MAX,
     .has_model = true},
    {.name = "eval",
     .id = CMD_EVAL,
     .words = "MODEL DATA",
     .summary = "how good a model is on DATA's validation pictures",
     .examples =
         "  kiln eval runs/1/model.safetensors photos\n"
         "  kiln eval runs/1/model.safetensors photos -o mistakes\n"
         "  kiln eval runs/1/model.safetensors others            pictures it has not seen\n",
     .details = MODEL_TEXT DATA_TEXT HELD_OUT_TEXT,
     .min_words = 2,
     .max_words = 2,
     .has_model = true},
    {.name = "explain",
     .id = CMD_EXPLAIN,
     .words = "MODEL DATA",
     .summary = "a page that shows what a model gets wrong",
     .examples = "  kiln explain runs/1/model.safetensors photos\n"
                 "  kiln explain runs/1/model.safetensors photos --top 100 -o mistakes\n",
     .details = MODEL_TEXT DATA_TEXT HELD_OUT_TEXT
     "The page is one HTML file: the confusion matrix, the figures of each class, and the "
     "pictures\n"
     "with the highest losses, with what spoke for the prediction (Grad-CAM).\n",
     .min_words = 2,
     .max_words = 2,
     .has_model = true},
    {.name = "check",
     .id = CMD_CHECK,
     .words = "DATA",
     .summary = "what is in DATA, and what is wrong with it",
     .examples = "  kiln check photos\n"
                 "  kiln check photos --sheet            and draw some of it: sheet.svg\n",
     .details = DATA_TEXT "Every picture is decoded whole. Exit code 3 when something is wrong: a "
                          "bad picture, the same\n"
                          "one in both sets, or in two classes.\n",
     .min_words = 1,
     .max_words = 1},
    {.name = "info",
     .id = CMD_INFO,
     .words = "MODEL|--model NAME [DATA]",
     .summary = "layers, shapes, parameter counts, multiply-accumulates",
     .examples = "  kiln info runs/1/model.safetensors\n"
                 "  kiln info --model simple_cnn --img-size 128\n"
                 "  kiln info runs/1/model.safetensors photos --shapes\n",
     .details = "The shapes are those of a batch of DATA's first pictures, else of zeros.\n",
     .min_words = 1,
     .max_words = 2,
     .has_model = true},
    {.name = "lr-find",
     .id = CMD_LR_FIND,
     .words = "DATA",
     .summary = "suggest a learning rate for a training on DATA",
     .examples = "  kiln lr-find photos                  then: kiln train photos --lr F\n"
                 "  kiln lr-find photos --opt adamw      for that optimizer\n"
                 "  kiln train photos                    both at once\n",
     .details = DATA_TEXT
     "A short training whose rate grows with every batch, until the loss runs away. It takes the\n"
     "options of train, since a rate is good for one model, optimizer and batch size. valley is\n"
     "the rate to try first; steep is where the loss falls fastest, minimum a tenth of the rate\n"
     "of the lowest loss, slide the last before the curve turns.\n",
     .min_words = 1,
     .max_words = 1},
    {.name = "doctor",
     .id = CMD_DOCTOR,
     .words = "",
     .summary = "version, devices, processor, libraries, folders",
     .examples = "  kiln doctor\n"},
    {.name = "bench",
     .id = CMD_BENCH,
     .words = "",
     .summary = "measure this machine, and how near to its limit Kiln comes",
     .examples = "  kiln bench\n"
                 "  kiln bench --threads 1\n",
     .details =
         "Medians: decoding, every kernel of a training with its share of what copying moves,\n"
         "each convolution of two networks with its share of the FMA peak and oneDNN's time\n"
         "beside it, training steps, and the prediction of one picture. All but decoding is\n"
         "first checked against plain loops. Other work on the machine shows in the figures.\n"},
};

const command *command_at(int i) {
    return i >= 0 && (size_t)i < sizeof table / sizeof table[0] ? &table[i] : NULL;
}

const command *command_find(const char *name) {
    for (int i = 0; command_at(i) != NULL; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}
