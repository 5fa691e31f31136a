/* main.c - the command kiln: reads the arguments, runs what they ask for. */
#include "help.h"
#include "json_memory.h"
#include "resume.h"
#include "session.h"
#include "spin.h"

#include <sys/prctl.h>
#include <string.h>

static int run(session *s) {
    switch (s->a.command->id) {
    case CMD_TRAIN:
        return train_run(s);
    case CMD_PREDICT:
        return predict_run(s);
    case CMD_EVAL:
        return eval_run(s);
    case CMD_EXPLAIN:
        return explain_run(s);
    case CMD_CHECK:
        return check_run(s);
    case CMD_INFO:
        return info_run(s);
    case CMD_LR_FIND:
        return lr_find_run(s);
    case CMD_BENCH:
        return bench_run(s);
    case CMD_DOCTOR:
    case CMD_ALL:
        break;
    }
    return doctor_run(s);
}

static int print_text(session *s) {
    kn_text t = {0};
    if (s->a.help)
        help_text(s->a.command, s->a.recipe, &t);
    else
        kn_text_printf(&t, "kiln %s\n", KN_VERSION);
    report_out(&s->r, &t);
    return EXIT_DONE;
}

static bool computes(const char *word) {
    static const char *const words[] = {"train", "lr-find", "eval", "predict", "explain", "bench"};
    bool found = false;
    for (size_t i = 0; i < KN_COUNT(words); i++)
        found = found || strcmp(word, words[i]) == 0;
    return found;
}

int main(int argc, char **argv) {
    if (argc > 1 && computes(argv[1]))
        spin_less(argv);        /* first: reading the arguments changes their order */
    prctl(PR_SET_NAME, "kiln"); /* which starting itself anew made "exe" */
    session s = {.program = argc > 0 ? argv[0] : "kiln"};
    kn_error error = {0};
    report_prepare();
    json_memory_watch(&s.r);
    s.r.json = args_want_json(argc, argv);
    int code;
    if (args_parse(argc, argv, &s.a, &error) != KN_OK)
        code = report_error(&s.r, &error);
    else if (s.a.help || s.a.version)
        code = print_text(&s);
    else {
        s.r.quiet = s.a.quiet;
        s.r.verbose = s.a.verbose;
        code = s.a.resume != NULL ? resume_open(&s) : EXIT_DONE;
        if (code == EXIT_DONE)
            code = session_open(&s);
        if (code == EXIT_DONE)
            code = run(&s);
        kn_ctx_free(s.ctx);
        resume_close(&s);
    }
    return report_end(&s.r, code);
}
