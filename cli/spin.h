/* spin.h - how long compute threads wait for work before they sleep. */
#ifndef KILN_CLI_SPIN_H
#define KILN_CLI_SPIN_H

/* Sets a short wait, unless the environment says otherwise. libgomp reads its settings before main,
 * so this starts the program anew, once. */
void spin_less(char **argv);

#endif
