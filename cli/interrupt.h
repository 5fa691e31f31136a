/* interrupt.h - Ctrl-C ends a training after the batch at hand, and keeps what is saved. */
#ifndef KILN_CLI_INTERRUPT_H
#define KILN_CLI_INTERRUPT_H

#include <kiln/learner.h>

/* From here on the first SIGINT, SIGTERM or SIGHUP only sets a flag; the second ends the process.
 */
void interrupt_install(void);
bool interrupted(void);

/* Ends the fit after the batch in which the flag was set. */
kn_callback *interrupt_cb(void);

#endif
