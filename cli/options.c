/* options.c - all options: the tables behind each other, and the rows that say what is read and
 * written, on what, and how it is told. */
#include "option_table.h"

/* A folder to write into: each command has its own. */
#define OUTPUT(command, where, what)                                                               \
    {                                                                                              \
        .name = "output", .letter = 'o', .commands = (command), .kind = KIND_TEXT,                 \
        .at = AT(output), .shown = (where), .value = "DIR", .help = (what)                         \
    }

/* An option may have a row for train and another for the commands that take its value from a model
 * file. What a recipe sets (recipes.c) goes before start; a row without a start is set by every
 * recipe, or is zero until it is given. */
static const option table[] = {
    {.name = "seed",
     .commands = DATA_COMMANDS,
     .kind = KIND_SEED,
     .at = AT(seed),
     .start = "42",
     .value = "N",
     .help = "of weights, order and split; the same seed, the same bits"},
    {.name = "valid-pct",
     .commands = FIT_COMMANDS | CMD_CHECK,
     .kind = KIND_REAL,
     .at = AT(valid_pct),
     .start = "20",
     .value = "P",
     .max = 100,
     .above_min = true,
     .below_max = true,
     .help = "held out of each class when DATA has no validation folder"},
    {.name = "valid-pct",
     .commands = CMD_EVAL | CMD_EXPLAIN,
     .kind = KIND_REAL,
     .at = AT(valid_pct),
     .shown = "all of DATA",
     .value = "P",
     .max = 100,
     .above_min = true,
     .below_max = true,
     .help = "only what train held out with this P and --seed"},
    {.name = "on-bad-image",
     .commands = FIT_COMMANDS | CMD_EVAL | CMD_EXPLAIN,
     .kind = KIND_CHOICE,
     .at = AT(on_bad_image),
     .start = "fail",
     .choices = "fail",
     .later = "skip",
     .value = "DO",
     .help = "fail: stop and name it"},
    {.name = "decode",
     .commands = FIT_COMMANDS,
     .kind = KIND_CHOICE,
     .at = AT(decode),
     .start = "exact",
     .choices = "exact|fast",
     .value = "HOW",
     .help = "exact, or fast: training JPEGs more than twice as large as needed are decoded "
             "smaller, which changes their pixels a little"},
    {.name = "cache",
     .commands = FIT_COMMANDS,
     .kind = KIND_CHOICE,
     .at = AT(cache),
     .start = "auto",
     .choices = "auto|ram|disk|off",
     .value = "WHERE",
     .help =
         "where pictures that are the same every epoch are kept decoded: ram, disk (a file below "
         "KILN_HOME) or off; auto: ram if a quarter of what is free holds them, else disk; "
         "changes no result"},
    {.name = "max-image-memory",
     .commands = READ_COMMANDS,
     .kind = KIND_INT,
     .at = AT(max_image_memory),
     .start = "512",
     .value = "MB",
     .min = 1,
     .max = 1048576,
     .help = "that one picture may take while it is decoded"},
    {.name = "tta",
     .commands = MODEL_COMMANDS,
     .kind = KIND_FLAG,
     .at = AT(tta),
     .help = "mean of the probabilities of each picture and its mirror image"},
    {.name = "top",
     .letter = 'k',
     .commands = CMD_PREDICT,
     .kind = KIND_INT,
     .at = AT(top),
     .start = "1",
     .value = "K",
     .min = 1,
     .max = 1000000,
     .help = "so many of the most probable classes"},
    {.name = "top",
     .letter = 'k',
     .commands = CMD_EXPLAIN,
     .kind = KIND_INT,
     .at = AT(top),
     .start = "24",
     .value = "K",
     .max = 2000,
     .help = "pictures to show: those with the highest losses"},
    {.name = "device",
     .commands = RUN_COMMANDS,
     .kind = KIND_CHOICE,
     .at = AT(device),
     .start = "auto",
     .choices = "auto|cpu|onednn|reference",
     .later = "cuda|cuda:",
     .value = "NAME",
     .help = "auto, cpu, onednn (cpu, all convolutions and products by oneDNN) or reference (plain "
             "loops)"},
    {.name = "workers",
     .letter = 'j',
     .commands = READ_COMMANDS,
     .kind = KIND_INT,
     .at = AT(workers),
     .shown = "the processors",
     .value = "N",
     .min = 1,
     .max = 1024,
     .help = "threads that read pictures; changes no result"},
    {.name = "threads",
     .commands = RUN_COMMANDS,
     .kind = KIND_INT,
     .at = AT(threads),
     .shown = "the processors",
     .value = "N",
     .min = 1,
     .max = 1024,
     .help = "threads that compute"},
    {.name = "activations",
     .commands = CMD_TRAIN,
     .kind = KIND_FLAG,
     .at = AT(activations),
     .help = "also activations.svg and .csv: what each layer gives while it trains"},
    OUTPUT(CMD_TRAIN, "runs/N", "run folder; an existing run is never overwritten"),
    {.name = "sheet",
     .commands = CMD_CHECK,
     .kind = KIND_FLAG,
     .at = AT(sheet),
     .help = "draw pictures of the first training batch, as a model sees them: sheet.svg"},
    OUTPUT(CMD_CHECK, ".", "folder for sheet.svg; where there is one, sheet-2.svg and so on"),
    OUTPUT(CMD_LR_FIND, "lr-find/N", "new folder for lr_find.svg and lr_find.csv"),
    OUTPUT(CMD_EVAL, "nothing is written",
           "new folder for confusion.svg, tables of classes and pictures"),
    OUTPUT(CMD_EXPLAIN, "explain/N", "new folder for explain.html"),
    {.name = "only",
     .commands = CMD_BENCH,
     .kind = KIND_CHOICE,
     .at = AT(only),
     .start = "all",
     .choices = "all|machine|pictures|simple_cnn|resnet18",
     .value = "WHAT",
     .help = "one part of it"},
    {.name = "shapes",
     .commands = CMD_INFO,
     .kind = KIND_FLAG,
     .at = AT(shapes),
     .help = "only each layer's output shape"},
    {.name = "json",
     .commands = CMD_ALL,
     .kind = KIND_FLAG,
     .at = AT(json),
     .help = "one JSON object a line on stdout"},
    {.name = "quiet",
     .letter = 'q',
     .commands = CMD_ALL,
     .kind = KIND_FLAG,
     .at = AT(quiet),
     .help = "no progress and no notes"},
    {.name = "verbose",
     .letter = 'v',
     .commands = CMD_ALL,
     .kind = KIND_FLAG,
     .at = AT(verbose),
     .help = "what the library reports, too"},
    {.name = "help",
     .letter = 'h',
     .commands = CMD_ALL,
     .kind = KIND_FLAG,
     .at = AT(help),
     .help = "this text"},
    {.name = "version",
     .commands = CMD_ALL,
     .kind = KIND_FLAG,
     .at = AT(version),
     .help = "print the version"},
    /* Known, and refused: an option is never ignored. */
    {.name = "checkpoint-every"},
    {.name = "resume"},
};

static option_table table_at(int i) {
    switch (i) {
    case 0:
        return options_seen();
    case 1:
        return options_learn();
    default:
        return (option_table){table, sizeof table / sizeof table[0]};
    }
}

const option *option_at(int i) {
    for (int t = 0; t < 3 && i >= 0; t++) {
        option_table rows = table_at(t);
        if (i < rows.count)
            return &rows.row[i];
        i -= rows.count;
    }
    return NULL;
}
