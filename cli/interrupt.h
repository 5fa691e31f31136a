/* interrupt.h - Ctrl-C ends a training after the batch at hand, which is saved; SIGUSR1 saves. */
#ifndef KILN_CLI_INTERRUPT_H
#define KILN_CLI_INTERRUPT_H

#include <kiln/learner.h>

/* From here on the first SIGINT, SIGTERM or SIGHUP only sets a flag; the second, of whichever of
 * them, ends the process. SIGUSR1 sets another flag. */
void interrupt_install(void);
bool interrupted(void);

/* Whether this batch of training is the last, for who saves it: a signal that comes after the
 * answer counts for the next batch, so that what ends a training is saved. */
bool interrupt_last_batch(void);

/* Whether SIGUSR1 came since this was last asked. */
bool interrupt_take_save(void);

/* Ends the fit after the batch in which the flag was set. */
kn_callback *interrupt_cb(void);

#endif
