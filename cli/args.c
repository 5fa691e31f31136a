/* args.c - reads the command line by the table of options. */
#include "args.h"

#include "resume_args.h"

#include "core/ctx.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct parser {
    int argc, at; /* the argument being read */
    char **argv;
    args *a;
    kn_error *error;
} parser;

/* ---- looking options up ---- */

typedef struct wanted {
    const char *name;
    size_t length;
    char letter; /* when name is NULL */
} wanted;

static bool matches(const option *o, const wanted *w) {
    if (w->name == NULL)
        return o->letter == w->letter;
    return strlen(o->name) == w->length && strncmp(o->name, w->name, w->length) == 0;
}

/* The row of this command; NULL: none, and *elsewhere holds the commands that have one. */
static const option *look_up(const wanted *w, unsigned for_command, unsigned *elsewhere,
                             bool *later) {
    const option *o;
    *elsewhere = 0;
    *later = false;
    for (int i = 0; (o = option_at(i)) != NULL; i++) {
        if (!matches(o, w))
            continue;
        if (o->commands & for_command)
            return o;
        *elsewhere |= o->commands;
        *later = o->commands == 0;
    }
    return NULL;
}

/* For suggest: this command's options and those of later versions. */
static const char *next_name(const void *user, int i) {
    const option *o;
    for (int k = 0; (o = option_at(k)) != NULL; k++)
        if ((o->commands == 0 || o->commands & *(const unsigned *)user) && i-- == 0)
            return o->name;
    return NULL;
}

static kn_status refuse_option(parser *p, const wanted *w, unsigned elsewhere, bool later) {
    char name[64], owners[96] = "";
    if (w->name != NULL)
        snprintf(name, sizeof name, "--%.*s", w->length < 60 ? (int)w->length : 60, w->name);
    else
        snprintf(name, sizeof name, "-%c", w->letter);
    if (later)
        return kn_error_set(p->error, KN_ERR_ARG, "%s is not in this version", name);
    for (int i = 0; elsewhere != 0 && command_at(i) != NULL; i++)
        if (command_at(i)->id & elsewhere) {
            size_t used = strlen(owners);
            snprintf(owners + used, sizeof owners - used, "%s%s", used > 0 ? ", " : "",
                     command_at(i)->name);
        }
    if (elsewhere != 0)
        return kn_error_set(p->error, KN_ERR_ARG, "%s is no option of %s, but of %s", name,
                            p->a->command->name, owners);
    const char *near = NULL;
    unsigned own = p->a->command->id;
    if (w->name != NULL)
        near = suggest(name + 2, next_name, &own);
    return kn_error_set(p->error, KN_ERR_ARG,
                        near != NULL ? "unknown option %s; did you mean --%s?"
                                     : "unknown option %s%s",
                        name, near != NULL ? near : "");
}

static const option *find(parser *p, const wanted *w) {
    unsigned elsewhere;
    bool later;
    const option *o = look_up(w, p->a->command->id, &elsewhere, &later);
    if (o == NULL)
        refuse_option(p, w, elsewhere, later);
    return o;
}

/* ---- reading them ---- */

/* The argument after the option. One that begins with -- is more likely the next option than a
 * value; --name=--value says otherwise. */
static const char *separate_value(parser *p, const option *o) {
    if (p->at + 1 < p->argc && strncmp(p->argv[p->at + 1], "--", 2) != 0)
        return p->argv[++p->at];
    kn_error_set(p->error, KN_ERR_ARG, "--%s needs a value: %s", o->name, o->value);
    return NULL;
}

static kn_status take(parser *p, const option *o, const char *value) {
    int i = 0;
    while (option_at(i) != o)
        i++;
    assert(i < OPTIONS_MOST);
    p->a->given[i] = p->a->typed[i] = true;
    return option_set(o, value, p->a, p->error);
}

static kn_status read_long(parser *p, const char *text) {
    wanted w = {.name = text, .length = strcspn(text, "=")};
    const option *o = find(p, &w);
    if (o == NULL)
        return KN_ERR_ARG;
    const char *value = text[w.length] == '=' ? text + w.length + 1 : NULL;
    if (o->kind == KIND_FLAG && value != NULL)
        return kn_error_set(p->error, KN_ERR_ARG, "--%s takes no value", o->name);
    if (o->kind == KIND_FLAG)
        value = "";
    else if (value == NULL)
        value = separate_value(p, o);
    return value != NULL ? take(p, o, value) : KN_ERR_ARG;
}

/* -q, -qv, -b 64, -b64. */
static kn_status read_short(parser *p, const char *letters) {
    for (const char *c = letters; *c != '\0'; c++) {
        wanted w = {.letter = *c};
        const option *o = find(p, &w);
        if (o == NULL)
            return KN_ERR_ARG;
        if (o->kind == KIND_FLAG) {
            kn_status status = take(p, o, "");
            if (status != KN_OK)
                return status;
            continue;
        }
        const char *value = c[1] != '\0' ? c + 1 : separate_value(p, o);
        return value != NULL ? take(p, o, value) : KN_ERR_ARG;
    }
    return KN_OK;
}

/* After the whole line was read, as --recipe may stand anywhere on it. Its own row is the first, so
 * the rows after it see which recipe it is. */
static kn_status set_defaults(args *a, kn_error *error) {
    const option *o;
    kn_status status = KN_OK;
    for (int i = 0; (o = option_at(i)) != NULL && status == KN_OK; i++) {
        if (a->given[i] || !(o->commands & a->command->id))
            continue;
        const char *value = option_default(o, a->command->id, a->recipe);
        if (value != NULL)
            status = option_set(o, value, a, error);
    }
    return status;
}

static kn_status read_all(parser *p) {
    kn_status status = KN_OK;
    bool options = true;
    for (p->at = 2; p->at < p->argc && status == KN_OK; p->at++) {
        char *text = p->argv[p->at];
        if (!options || text[0] != '-' || text[1] == '\0')
            p->a->word[p->a->words++] = text; /* never ahead of the argument being read */
        else if (strcmp(text, "--") == 0)
            options = false;
        else
            status = text[1] == '-' ? read_long(p, text + 2) : read_short(p, text + 1);
    }
    return status == KN_OK ? set_defaults(p->a, p->error) : status;
}

bool args_given(const args *a, const char *name) {
    for (int i = 0; option_at(i) != NULL; i++)
        if (a->given[i] && strcmp(option_at(i)->name, name) == 0)
            return true;
    return false;
}

bool args_fast_decode(const args *a) {
    return a->decode != NULL && strcmp(a->decode, "fast") == 0;
}

/* ---- the command, and what goes together ---- */

static const char *next_command(const void *user, int i) {
    (void)user;
    return command_at(i) != NULL ? command_at(i)->name : NULL;
}

static kn_status find_command(parser *p) {
    if (p->argc < 2)
        return kn_error_set(p->error, KN_ERR_ARG, "no command; kiln --help lists them");
    const char *name = p->argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        p->a->help = true;
        if (p->argc == 2)
            return KN_OK;
        name = p->argv[2];
    }
    if (strcmp(name, "--version") == 0) {
        p->a->version = true;
        return KN_OK;
    }
    p->a->command = command_find(name);
    if (p->a->command != NULL && p->a->command->id != 0)
        return KN_OK;
    if (p->a->command != NULL)
        return kn_error_set(p->error, KN_ERR_ARG, "%s is not in this version", name);
    if (name[0] == '-')
        return kn_error_set(p->error, KN_ERR_ARG,
                            "%s: the command comes first; kiln --help lists them", name);
    struct stat st;
    if (stat(name, &st) == 0 && S_ISDIR(st.st_mode))
        return kn_error_set(p->error, KN_ERR_ARG,
                            "unknown command %s; to train on that folder: kiln train %s", name,
                            name);
    const char *near = suggest(name, next_command, NULL);
    if (near != NULL)
        return kn_error_set(p->error, KN_ERR_ARG, "unknown command %s; did you mean %s?", name,
                            near);
    return kn_error_set(p->error, KN_ERR_ARG, "unknown command %s; kiln --help lists them", name);
}

/* A resumed training has all its words and options from its run folder. */
static kn_status check_resume(const args *a, kn_error *error) {
    const option *o;
    if (a->words > 0)
        return kn_error_set(error, KN_ERR_ARG, "--resume RUN takes no DATA: %s is one too many",
                            a->word[0]);
    for (int i = 0; (o = option_at(i)) != NULL; i++)
        if (a->given[i] && !resume_args_may(o))
            return kn_error_set(error, KN_ERR_ARG,
                                "--%s cannot change with --resume: the training goes on as it "
                                "began",
                                o->name);
    return KN_OK;
}

static kn_status check_words(const args *a, kn_error *error) {
    const command *c = a->command;
    if (a->resume != NULL)
        return check_resume(a, error);
    const char *gap = c->words[0] != '\0' ? " " : "";
    int words =
        a->words + (c->has_model && (a->weights != NULL || c->id == CMD_INFO) && a->model != NULL);
    if (words < c->min_words)
        return kn_error_set(error, KN_ERR_ARG, "usage: kiln %s%s%s", c->name, gap, c->words);
    if (words > c->max_words)
        return kn_error_set(error, KN_ERR_ARG, "unexpected argument %s; usage: kiln %s%s%s",
                            a->word[a->words - 1], c->name, gap, c->words);
    return KN_OK;
}

/* Fine-tuning has its own epochs and schedule (kn_fine_tune_cb): what it comes to stands in the
 * arguments, and what would contradict it is refused. */
static kn_status settle_fine_tune(args *a, kn_error *error) {
    static const char *const own[] = {"epochs", "sched", "warmup"};
    if (a->freeze_norm && a->fine_tune == 0)
        return kn_error_set(error, KN_ERR_ARG, "--freeze-norm goes with --fine-tune N");
    if (a->fine_tune == 0)
        return KN_OK;
    if (a->weights == NULL)
        return kn_error_set(error, KN_ERR_ARG, "--fine-tune goes with --weights FILE");
    for (size_t i = 0; i < KN_COUNT(own); i++)
        if (args_given(a, own[i]))
            return kn_error_set(error, KN_ERR_ARG, "--fine-tune N has its own --%s", own[i]);
    a->epochs = 1 + a->fine_tune;
    a->sched = "one-cycle-cos";
    a->warmup = 0;
    return KN_OK;
}

static kn_status check_training(const args *a, kn_error *error) {
    if (a->nesterov && !(strcmp(a->opt, "sgd") == 0 && a->momentum > 0))
        return kn_error_set(error, KN_ERR_ARG, "--nesterov goes with --opt sgd and a --momentum");
    if (a->warmup > 0 && a->epochs > 0 && a->warmup >= a->epochs)
        return kn_error_set(error, KN_ERR_ARG, "--warmup %g: expected less than the %d epochs",
                            a->warmup, a->epochs);
    return KN_OK;
}

/* An option is never ignored: what only the sheet uses is refused without it. */
static kn_status check_sheet(const args *a, kn_error *error) {
    const option *o;
    for (int i = 0; (o = option_at(i)) != NULL; i++)
        if (a->command->id == CMD_CHECK && !a->sheet && a->given[i] &&
            (o->with_sheet || strcmp(o->name, "output") == 0))
            return kn_error_set(error, KN_ERR_ARG, "check: --%s goes with --sheet", o->name);
    return KN_OK;
}

static kn_status check_together(args *a, kn_error *error) {
    bool stored = a->command->id & (CMD_PREDICT | CMD_EVAL | CMD_EXPLAIN);
    if (stored && (a->weights != NULL) != (a->model != NULL))
        return kn_error_set(error, KN_ERR_ARG, "--weights FILE and --model NAME go together");
    if (isnan(a->mean[0]) != (a->std[0] == 0))
        return kn_error_set(error, KN_ERR_ARG, "--mean and --std go together");
    kn_status status = settle_fine_tune(a, error);
    if (status == KN_OK)
        status = check_training(a, error);
    if (status == KN_OK)
        status = check_sheet(a, error);
    return status == KN_OK ? check_words(a, error) : status;
}

kn_status args_parse(int argc, char **argv, args *a, kn_error *error) {
    *a = (args){.word = argv + 1, .mean = {NAN}};
    parser p = {.argc = argc, .argv = argv, .a = a, .error = error};
    kn_status status = find_command(&p);
    if (status != KN_OK || a->help || a->version)
        return status;
    status = read_all(&p);
    if (status != KN_OK || a->help || a->version)
        return status;
    return check_together(a, error);
}
