/* option_table.h - what the tables of options share. There are three, in the order of --help, each
 * in a file of its own: what a model is and sees, how it learns, and all else. */
#ifndef KILN_CLI_OPTION_TABLE_H
#define KILN_CLI_OPTION_TABLE_H

#include "args.h"

#include <stddef.h>

#define DATA_COMMANDS  (FIT_COMMANDS | CMD_EVAL | CMD_EXPLAIN | CMD_CHECK)
#define MODEL_COMMANDS (CMD_PREDICT | CMD_EVAL | CMD_EXPLAIN)
#define RUN_COMMANDS   (FIT_COMMANDS | MODEL_COMMANDS | CMD_INFO | CMD_BENCH)
#define READ_COMMANDS  (DATA_COMMANDS | CMD_PREDICT | CMD_INFO)
#define SEEN_COMMANDS  (FIT_COMMANDS | CMD_CHECK) /* what a model sees; check: with --sheet */
#define AT(field)      offsetof(args, field)

typedef struct option_table {
    const option *row;
    int count;
} option_table;

option_table options_seen(void);  /* options_seen.c */
option_table options_learn(void); /* options_learn.c */

#endif
