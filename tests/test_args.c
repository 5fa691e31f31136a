/* test_args.c - the command line: defaults, ways of writing, what is refused and how, and that
 * --help shows what the parser takes. */
#include "args.h"
#include "help.h"
#include "support/check.h"

#include <kiln/augment.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_WORDS = 16 };

/* Parses a line split at blanks. The texts in *a point into static memory. */
static kn_status parse(const char *line, args *a, kn_error *error) {
    static char text[512];
    static char *argv[MAX_WORDS + 1];
    int argc = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        assert_true(argc < MAX_WORDS);
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    *error = (kn_error){0};
    return args_parse(argc, argv, a, error);
}

static args good(const char *line) {
    args a;
    kn_error error;
    if (parse(line, &a, &error) != KN_OK)
        fail_msg("%s: %s", line, error.message);
    return a;
}

static void refused(const char *line, const char *part) {
    args a;
    kn_error error;
    if (parse(line, &a, &error) != KN_ERR_ARG)
        fail_msg("%s: is not refused", line);
    if (strstr(error.message, part) == NULL)
        fail_msg("%s: \"%s\" is not in: %s", line, part, error.message);
}

/* ---- defaults: of --recipe chapter, and of none ---- */

static void test_defaults(void **state) {
    (void)state;
    args a = good("kiln train photos --recipe chapter");
    assert_int_equal(a.command->id, CMD_TRAIN);
    assert_int_equal(a.words, 1);
    assert_string_equal(a.word[0], "photos");
    assert_string_equal(a.recipe, "chapter");
    assert_string_equal(a.model, "simple_cnn");
    assert_string_equal(a.sched, "one-cycle");
    assert_string_equal(a.opt, "sgd");
    assert_string_equal(a.aug, "none");
    assert_string_equal(a.resize, "squash");
    assert_string_equal(a.dtype, "f32");
    assert_string_equal(a.device, "auto");
    assert_string_equal(a.on_bad_image, "fail");
    assert_int_equal(a.epochs, 8);
    assert_int_equal(a.batch_size, 128);
    assert_int_equal(a.img_size, 64);
    assert_int_equal(a.seed, 42);
    assert_int_equal(a.max_image_memory, 512);
    assert_true(a.lr == 0.1 && a.momentum == 0 && a.wd == 0 && a.valid_pct == 20);
    assert_true(isnan(a.mean[0]) && a.std[0] == 0);
    assert_null(a.output);
    assert_null(a.weights);
    assert_int_equal(a.workers + a.threads + a.cache_memory, 0);
    assert_false(a.json || a.quiet || a.verbose || a.help || a.version || a.shapes);

    a = good("kiln eval m d"); /* what is not given is the model's */
    assert_int_equal(a.batch_size + a.img_size, 0);
    assert_true(a.valid_pct == 0);
    assert_null(a.model);
}

/* What the library names, the options take. */
static void test_choices(void **state) {
    (void)state;
    char line[64];
    for (int i = 0; kn_augment_preset_name(i) != NULL; i++) {
        snprintf(line, sizeof line, "kiln train d --aug %s", kn_augment_preset_name(i));
        assert_string_equal(good(line).aug, kn_augment_preset_name(i));
    }
    for (int i = 0; kn_resize_name((kn_resize_method)i) != NULL; i++) {
        const char *name = kn_resize_name((kn_resize_method)i);
        snprintf(line, sizeof line, "kiln train d --resize %s", name);
        assert_string_equal(good(line).resize, name);
        snprintf(line, sizeof line, "kiln predict m d --resize %s", name);
        assert_string_equal(good(line).resize, name);
    }
    assert_null(good("kiln predict m d").resize);
}

/* ---- recipes ---- */

/* Every option that --recipe chapter sets, and every one without a default of its own, is set by
 * each recipe, to what the option takes. */
static void test_recipes(void **state) {
    (void)state;
    char line[64];
    const option *o;
    for (int r = 0; recipe_name(r) != NULL; r++) {
        snprintf(line, sizeof line, "kiln train d --recipe %s", recipe_name(r));
        assert_string_equal(good(line).recipe, recipe_name(r));
        for (int i = 0; (o = option_at(i)) != NULL; i++) {
            const char *value = recipe_value(recipe_name(r), o->name);
            bool core = recipe_value("chapter", o->name) != NULL;
            if (o->commands & CMD_TRAIN &&
                (core || (o->start == NULL && o->shown == NULL && o->kind != KIND_FLAG)) &&
                value == NULL)
                fail_msg("--recipe %s does not set --%s", recipe_name(r), o->name);
        }
    }
    assert_null(recipe_value("chapter", "no-such-option"));
    assert_null(recipe_value("no-such-recipe", "epochs"));
}

/* The recipe of more time never takes less; and on Imagenette it is the run that was measured. */
static void test_recipe_epochs(void **state) {
    (void)state;
    for (int pictures = 1; pictures < 100000; pictures++)
        assert_true(recipe_epochs("best", pictures) >= recipe_epochs("quick", pictures));
    assert_int_equal(recipe_epochs("quick", 1), 40);
    assert_int_equal(recipe_epochs("quick", 3000), 10);
    assert_int_equal(recipe_epochs("quick", 9469), 4);
    assert_int_equal(recipe_epochs("best", 1), 60);
    assert_int_equal(recipe_epochs("best", 3000), 15);
    assert_int_equal(recipe_epochs("best", 9469), 5);
    assert_int_equal(recipe_epochs("best", INT_MAX), 5);
    assert_int_equal(good("kiln train d --recipe best").epochs, 0); /* auto */
}

static void test_recipe_batch(void **state) {
    (void)state;
    assert_int_equal(recipe_batch("quick", 9469, 64), 64);
    assert_int_equal(recipe_batch("quick", 1280, 64), 64);
    assert_int_equal(recipe_batch("quick", 1279, 64), 56);
    assert_int_equal(recipe_batch("best", 320, 64), 16);
    assert_int_equal(recipe_batch(NULL, 100, 64), 8);
    assert_int_equal(recipe_batch("quick", 1, 64), 8);
    assert_int_equal(recipe_batch("chapter", 1, 128), 128);
}

/* What is given counts, wherever it stands. */
static void test_given(void **state) {
    (void)state;
    args a = good("kiln train d --epochs 3 --recipe chapter -b 64");
    assert_int_equal(a.epochs, 3);
    assert_int_equal(a.batch_size, 64);
    assert_int_equal(a.img_size, 64);
    assert_string_equal(a.model, "simple_cnn");
    a = good("kiln train d");
    assert_string_equal(a.recipe, "quick");
    assert_string_equal(a.model, "xresnet18");
    assert_int_equal(a.epochs, 0); /* auto */
    assert_true(a.lr == 0);        /* auto */
    a = good("kiln train --recipe chapter --epochs 3 d");
    assert_int_equal(a.epochs, 3);
    assert_int_equal(a.batch_size, 128);
    const option *o;
    for (int i = 0; (o = option_at(i)) != NULL; i++) {
        bool stood = o->commands & CMD_TRAIN &&
                     (strcmp(o->name, "epochs") == 0 || strcmp(o->name, "recipe") == 0);
        assert_int_equal(a.given[i], stood);
    }
}

/* Whatever the recipe says. */
static void test_fine_tune(void **state) {
    (void)state;
    args a = good("kiln train d --fine-tune 4 --weights w");
    assert_int_equal(a.fine_tune, 4);
    assert_int_equal(a.epochs, 5);
    assert_string_equal(a.sched, "one-cycle-cos");
    assert_int_equal(good("kiln train d").fine_tune, 0);
}

/* ---- ways of writing ---- */

static void test_forms(void **state) {
    (void)state;
    assert_int_equal(good("kiln train d --epochs 3").epochs, 3);
    assert_int_equal(good("kiln train d --epochs=3").epochs, 3);
    assert_int_equal(good("kiln train d --epochs 3 --epochs 4").epochs, 4);
    assert_int_equal(good("kiln train -b 64 d").batch_size, 64);
    assert_int_equal(good("kiln train -b64 d").batch_size, 64);
    assert_int_equal(good("kiln train d -qj3").workers, 3);
    args a = good("kiln train d -qv --json -o out");
    assert_true(a.quiet && a.verbose && a.json);
    assert_string_equal(a.output, "out");
    assert_string_equal(good("kiln train --output=--x d").output, "--x");
    assert_string_equal(good("kiln train -- --json").word[0], "--json");
    a = good("kiln predict m -q a.jpg - -- -b.jpg");
    assert_int_equal(a.words, 4);
    assert_string_equal(a.word[1], "a.jpg");
    assert_string_equal(a.word[2], "-");
    assert_string_equal(a.word[3], "-b.jpg");
    assert_true(good("kiln train d --lr 1e-3").lr == 1e-3);
    assert_true(good("kiln train d --lr auto").lr == 0);
    assert_true(good("kiln train d --seed 18446744073709551615").seed == UINT64_MAX);
    a = good("kiln train d --mean 0.5,.25,0 --std 1,0.5,1e-2");
    assert_true(a.mean[0] == 0.5 && a.mean[1] == 0.25 && a.mean[2] == 0);
    assert_true(a.std[0] == 1 && a.std[1] == 0.5 && a.std[2] == 1e-2);
    assert_int_equal(good("kiln eval d --weights f --model simple_cnn").words, 1);
    assert_int_equal(good("kiln info --model simple_cnn").words, 0);
    assert_true(good("kiln train --help").help); /* without DATA */
    assert_null(good("kiln --help").command);
    assert_int_equal(good("kiln help eval").command->id, CMD_EVAL);
    assert_true(good("kiln --version").version);
}

/* ---- what is refused ---- */

static const struct {
    const char *line, *part;
} wrong[] = {
    {"kiln", "no command"},
    {"kiln trian d", "unknown command trian; did you mean train?"},
    {"kiln frobnicate", "unknown command frobnicate; kiln --help lists them"},
    {"kiln help trian", "did you mean train?"},
    {"kiln tests", "unknown command tests; to train on that folder: kiln train tests"},
    {"kiln --json train d", "--json: the command comes first"},
    {"kiln lr-find", "usage: kiln lr-find DATA"},
    {"kiln lr-find d --epochs 3", "--epochs is no option of lr-find, but of train"},
    {"kiln lr-find d --lr 3", "--lr is no option of lr-find, but of train"},
    {"kiln train d --lr aut", "--lr \"aut\": expected auto, or a number above 0"},
    {"kiln bench x", "unexpected argument x; usage: kiln bench"},
    {"kiln train", "usage: kiln train DATA"},
    {"kiln train a b", "unexpected argument b; usage: kiln train DATA"},
    {"kiln predict m", "usage: kiln predict MODEL IMAGE|FOLDER..."},
    {"kiln eval m", "usage: kiln eval MODEL DATA"},
    {"kiln eval m d e", "unexpected argument e"},
    {"kiln info", "usage: kiln info MODEL|--model NAME [DATA]"},
    {"kiln info m d --model simple_cnn", "unexpected argument d"},
    {"kiln doctor x", "unexpected argument x; usage: kiln doctor"},
    {"kiln train d --epoch 3", "unknown option --epoch; did you mean --epochs?"},
    {"kiln train d --epohcs 3", "unknown option --epohcs; did you mean --epochs?"},
    {"kiln train d --batch_size=3", "unknown option --batch_size; did you mean --batch-size?"},
    {"kiln train d --mix 3", "unknown option --mix; did you mean --mixup?"},
    {"kiln train d --zzzzzz", "unknown option --zzzzzz"},
    {"kiln train d -x", "unknown option -x"},
    {"kiln train d -qx", "unknown option -x"},
    {"kiln eval m d --epochs 3", "--epochs is no option of eval, but of train"},
    {"kiln doctor -b 3",
     "-b is no option of doctor, but of train, predict, eval, explain, info, lr-find"},
    {"kiln train d --epochs", "--epochs needs a value: N"},
    {"kiln train d --epochs --json", "--epochs needs a value: N"},
    {"kiln train d -b", "--batch-size needs a value: N"},
    {"kiln train d --json=yes", "--json takes no value"},
    {"kiln train d --epochs ten",
     "--epochs \"ten\": expected auto, or a whole number from 1 to 1000000"},
    {"kiln train d --epochs=", "--epochs \"\": expected auto, or a whole number"},
    {"kiln train d --epochs 0",
     "--epochs \"0\": expected auto, or a whole number from 1 to 1000000"},
    {"kiln train d --epochs 1000001", "from 1 to 1000000"},
    {"kiln train d --epochs -3", "from 1 to 1000000"},
    {"kiln train d --epochs 3.0", "a whole number"},
    {"kiln train d --epochs 3x", "a whole number"},
    {"kiln train d --epochs 99999999999999999999", "a whole number"},
    {"kiln train d -b 1k", "--batch-size \"1k\": expected a whole number from 1 to 65536"},
    {"kiln train d --cache-memory 0", "--cache-memory \"0\": expected a whole number from 1 to"},
    {"kiln train d -j 0", "--workers \"0\": expected a whole number from 1 to 1024"},
    {"kiln train d --seed -1", "--seed \"-1\": expected a whole number from 0 to 1844"},
    {"kiln train d --seed 18446744073709551616", "a whole number from 0"},
    {"kiln train d --lr 0", "--lr \"0\": expected auto, or a number above 0, at most 1000"},
    {"kiln train d --lr nan", "--lr \"nan\""},
    {"kiln train d --lr inf", "--lr \"inf\""},
    {"kiln train d --lr 1e999", "--lr \"1e999\""},
    {"kiln train d --lr 0x1p3", "--lr \"0x1p3\""},
    {"kiln train d --lr 0,1", "--lr \"0,1\""},
    {"kiln train d --lr 1e", "--lr \"1e\""},
    {"kiln train d --momentum 1", "--momentum \"1\": expected a number from 0 and below 1"},
    {"kiln train d --wd -0.1", "--wd \"-0.1\": expected a number from 0 to 1000"},
    {"kiln train d --fine-tune 3", "--fine-tune goes with --weights FILE"},
    {"kiln train d --fine-tune 3 --weights w --epochs 2", "--fine-tune N has its own --epochs"},
    {"kiln train d --sched step --fine-tune 3 --weights w", "--fine-tune N has its own --sched"},
    {"kiln train d --fine-tune 3 --weights w --warmup 0", "--fine-tune N has its own --warmup"},
    {"kiln train d --fine-tune 0 --weights w", "--fine-tune \"0\": expected a whole number from 1"},
    {"kiln train d --valid-pct 0", "--valid-pct \"0\": expected a number above 0 and below 100"},
    {"kiln train d --valid-pct 100", "above 0 and below 100"},
    {"kiln train d --mean 1,1 --std 1,1,1", "--mean \"1,1\": expected three numbers R,G,B"},
    {"kiln train d --mean 1,1,1,1 --std 1,1,1", "--mean \"1,1,1,1\""},
    {"kiln train d --mean 0,0,256 --std 1,1,1", "each from 0 to 1"},
    {"kiln train d --std 1,0,1 --mean 0,0,0", "each above 0, at most 1"},
    {"kiln train d --mean 0,0,0", "--mean and --std go together"},
    {"kiln train d --std 1,1,1", "--mean and --std go together"},
    {"kiln train d --sched cyclic",
     "--sched \"cyclic\": expected constant, one-cycle, one-cycle-cos"},
    {"kiln train d --sched one", "--sched \"one\": expected constant, one-cycle, one-cycle-cos"},
    {"kiln train d --device gpu", "--device \"gpu\": expected auto, cpu, cuda, cuda:N, onednn or"},
    {"kiln train d --device cuda:", "--device \"cuda:\": expected auto"},
    {"kiln train d --device cuda:N", "--device \"cuda:N\": expected auto"},
    {"kiln train d --device cuda:1000", "--device \"cuda:1000\": expected auto"},
    {"kiln train d --device cuda:1x", "--device \"cuda:1x\": expected auto"},
    {"kiln train d --model resnet", "--model \"resnet\": expected simple_cnn"},
    {"kiln train d --output=", "--output \"\": expected DIR"},
    {"kiln train d --nesterov", "--nesterov goes with --opt sgd and a --momentum"},
    {"kiln train d --nesterov --momentum .9 --opt muon", "--nesterov goes with --opt sgd"},
    {"kiln train d --clip 0", "--clip \"0\": expected a number above 0"},
    {"kiln train d --accumulate 0", "--accumulate \"0\": expected a whole number from 1"},
    {"kiln train d --ema 1", "--ema \"1\": expected a number above 0 and below 1"},
    {"kiln train d --warmup 8 --epochs 8", "--warmup 8: expected less than the 8 epochs"},
    {"kiln train d --warmup -1", "--warmup \"-1\": expected a number from 0"},
    {"kiln train d --aug heavy", "--aug \"heavy\": expected"},
    {"kiln train d --resize stretch", "--resize \"stretch\": expected"},
    {"kiln train d --crop-min 0", "--crop-min \"0\": expected"},
    {"kiln eval m d --aug light", "--aug is no option of eval"},
    {"kiln eval d --weights f", "--weights FILE and --model NAME go together"},
    {"kiln eval m d --model simple_cnn", "--weights FILE and --model NAME go together"},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        refused(wrong[i].line, wrong[i].part);
}

/* What the table says is for a later version is refused as such, not ignored. */
static void test_later(void **state) {
    (void)state;
    const option *o;
    char line[256];
    for (int i = 0; (o = option_at(i)) != NULL; i++) {
        if (o->commands == 0) {
            snprintf(line, sizeof line, "kiln train d --%s 1", o->name);
            refused(line, "is not in this version");
            snprintf(line, sizeof line, "kiln check d --%s=1", o->name);
            refused(line, "is not in this version");
        }
    }
}

static void test_json_wanted(void **state) {
    (void)state;
    char *wanted[] = {"kiln", "trian", "--json"}, *ended[] = {"kiln", "--", "--json"};
    assert_true(args_want_json(3, wanted));
    assert_false(args_want_json(3, ended));
    assert_false(args_want_json(2, wanted));
}

/* ---- help ---- */

/* Each option and its default stands in the help of its commands, and in no other; examples come
 * first. */
static void check_help(const command *c, const char *text) {
    const option *o;
    char name[64];
    const char *example = strstr(text, "  kiln "), *options = strstr(text, "\nOptions");
    assert_true(example != NULL && options != NULL && example < options);
    for (int i = 0; (o = option_at(i)) != NULL; i++) {
        snprintf(name, sizeof name, "--%s ", o->name);
        const char *at = strstr(options, name);
        if (o->commands & c->id) {
            assert_non_null(at);
            const char *start = option_default(o, c->id, RECIPE_DEFAULT);
            start = start != NULL ? start : o->shown;
            if (start != NULL) {
                snprintf(name, sizeof name, "(%s)\n", start);
                check_contains(at, name);
            }
        } else if (o->commands == 0)
            assert_null(at);
    }
}

/* What may be given can be read there, each choice of each option. */
static void check_choices(const command *c, const char *text) {
    const option *o;
    for (int i = 0; (o = option_at(i)) != NULL; i++) {
        if (!(o->commands & c->id) || o->choices == NULL)
            continue;
        char name[64], choices[256], *rest = choices, part[1024];
        snprintf(name, sizeof name, "--%s ", o->name);
        snprintf(part, sizeof part, "%s",
                 strstr(strchr(strstr(text, "\nOptions") + 1, '\n'), name));
        char *next = strstr(part, "  --");
        if (next != NULL)
            *next = '\0';
        snprintf(choices, sizeof choices, "%s", o->choices);
        for (const char *choice; (choice = strsep(&rest, "|")) != NULL;)
            check_contains(part, choice);
    }
}

static void check_width(const char *text) {
    for (const char *line = text; line[0] != '\0'; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > 100)
            fail_msg("longer than 100 columns: %.200s", line);
}

static void test_help(void **state) {
    (void)state;
    int commands = 0;
    for (int i = 0; command_at(i) != NULL; i++) {
        if (command_at(i)->id == 0)
            continue;
        kn_text t = {0};
        help_text(command_at(i), NULL, &t);
        assert_false(t.failed);
        check_help(command_at(i), t.data);
        check_choices(command_at(i), t.data);
        check_width(t.data);
        kn_text_free(&t);
        commands++;
    }
    assert_int_equal(commands, 9);
    kn_text t = {0};
    help_text(NULL, NULL, &t);
    check_contains(t.data, "kiln train DATA");
    check_contains(t.data, "Exit codes: 0 done, 1 failed, 2 ");
    check_contains(t.data, "kiln bench");
    kn_text_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_choices),
        cmocka_unit_test(test_recipes),      cmocka_unit_test(test_recipe_epochs),
        cmocka_unit_test(test_recipe_batch), cmocka_unit_test(test_given),
        cmocka_unit_test(test_fine_tune),    cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_later),
        cmocka_unit_test(test_json_wanted),  cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
