/* history_line.h - an epoch as one line of JSON, in log.jsonl and from kiln train --json. */
#ifndef KN_LEARNER_HISTORY_LINE_H
#define KN_LEARNER_HISTORY_LINE_H

#include "core/text.h"

#include <kiln/callbacks.h>

/* At most so long. */
enum { KN_HISTORY_LINE = 512 };

/* Appends {"event":"epoch",...} and a newline. What is no number becomes null. */
void kn_history_line(kn_text *t, const kn_history_row *row);

#endif
