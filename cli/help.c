/* help.c - what --help prints, made from the tables of commands and options. */
#include "help.h"

#include <kiln/layers.h>

#include <stdio.h>
#include <string.h>

static const char general[] =
    "kiln - trains image classifiers from a folder of pictures\n"
    "\n"
    "  kiln check photos                              what is in photos/CLASS/*.jpg\n"
    "  kiln train photos                              train; results in runs/1\n"
    "  kiln predict runs/1/model.safetensors cat.jpg  use the model\n"
    "  kiln train shapes --recipe chapter             try it on pictures that Kiln draws\n"
    "\n"
    "Commands:\n";

static const char closing[] =
    "\n"
    "kiln COMMAND --help shows a command's options and their defaults.\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 the data is at fault, 4 device or\n"
    "memory, 130 interrupted. KILN_HOME is the folder for what Kiln keeps (default\n"
    "$XDG_CACHE_HOME/kiln, else ~/.cache/kiln).\n";

static void list_commands(kn_text *t) {
    for (int i = 0; command_at(i) != NULL; i++) {
        const command *c = command_at(i);
        if (c->id == 0)
            continue;
        char left[64];
        snprintf(left, sizeof left, "%s %s", c->name, c->words);
        kn_text_printf(t, "  kiln %-29s %s\n", left, c->summary);
    }
}

/* ---- an option ---- */

/* Whether the text names this word by itself. */
static bool names(const char *text, const char *word, size_t length) {
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
        bool begins = at == text || strchr(" ,(", at[-1]) != NULL;
        if (begins && (at[length] == '\0' || strchr(" ,:;)", at[length]) != NULL))
            return true;
    }
    return false;
}

/* The values that may be given, unless the help speaks of each. */
static void append_choices(const option *o, kn_text *t) {
    const char *name;
    if (o->kind == KIND_MODEL)
        for (int i = 0; (name = kn_model_name(i)) != NULL; i++)
            kn_text_printf(t, "%s%s", i == 0 ? ": " : ", ", name);
    if (o->choices == NULL)
        return;
    char all[256], *rest = all;
    bool missing = false;
    snprintf(all, sizeof all, "%s", o->choices);
    for (const char *c; (c = strsep(&rest, "|")) != NULL;)
        missing = missing || !names(o->help, c, strlen(c));
    if (!missing)
        return;
    snprintf(all, sizeof all, "%s", o->choices);
    rest = all;
    kn_text_printf(t, ": ");
    for (const char *c; (c = strsep(&rest, "|")) != NULL;)
        kn_text_printf(t, "%s%s", c, rest != NULL ? ", " : "");
}

/* In lines of 100 columns, from the column of the help on. A default in brackets stays whole. */
static void append_wrapped(const char *text, kn_text *t) {
    enum { FROM = 30, TO = 100 };
    int column = FROM;
    while (*text != '\0') {
        const char *brackets = *text == '(' ? strchr(text, ')') : NULL;
        size_t length = brackets != NULL && brackets[1] == '\0' ? strlen(text) : strcspn(text, " ");
        if (column > FROM && column + 1 + (int)length > TO) {
            kn_text_printf(t, "\n%*s", FROM, "");
            column = FROM;
        }
        kn_text_printf(t, "%s%.*s", column > FROM ? " " : "", (int)length, text);
        column += (int)length + (column > FROM);
        text += length;
        text += *text == ' ';
    }
    kn_text_append(t, "\n", 1);
}

static void list_option(const option *o, const command *c, const char *recipe, kn_text *t) {
    char left[64], shorter[8] = "    ";
    if (o->letter != 0)
        snprintf(shorter, sizeof shorter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", shorter, o->name, o->value != NULL ? " " : "",
             o->value != NULL ? o->value : "");
    const char *start = option_default(o, c->id, recipe);
    start = start != NULL ? start : o->shown;
    kn_text help = {0};
    kn_text_printf(&help, "%s", o->help);
    append_choices(o, &help);
    if (start != NULL)
        kn_text_printf(&help, " (%s)", start);
    kn_text_printf(t, "  %-27s ", left);
    if (help.failed)
        t->failed = true;
    else
        append_wrapped(help.data, t);
    kn_text_free(&help);
}

static void list_options(const command *c, const char *recipe, kn_text *t) {
    const option *o;
    for (int i = 0; (o = option_at(i)) != NULL; i++)
        if (o->commands & c->id)
            list_option(o, c, recipe, t);
}

void help_text(const command *c, const char *recipe, kn_text *t) {
    if (c == NULL) {
        kn_text_append(t, general, sizeof general - 1);
        list_commands(t);
        kn_text_append(t, closing, sizeof closing - 1);
        return;
    }
    kn_text_printf(t, "kiln %s%s%s - %s\n\n%s\n", c->name, c->words[0] != '\0' ? " " : "", c->words,
                   c->summary, c->examples);
    if (c->details != NULL)
        kn_text_printf(t, "%s\n", c->details);
    recipe = recipe != NULL ? recipe : RECIPE_DEFAULT;
    if (c->id & RECIPE_COMMANDS)
        kn_text_printf(t, "Options (with their defaults, which are those of --recipe %s):\n",
                       recipe);
    else
        kn_text_printf(t, "Options (with their defaults):\n");
    list_options(c, recipe, t);
}
