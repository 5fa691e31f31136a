/* stop.h - Ctrl-C ends a download between two blocks, and what has arrived is kept. */
#ifndef KILN_DOWNLOAD_STOP_H
#define KILN_DOWNLOAD_STOP_H

#include <stdbool.h>

/* From here on SIGINT, SIGTERM and SIGHUP only set a flag. */
void stop_install(void);
bool stop_asked(void);

/* Sleeps, unless asked to stop. */
void stop_sleep(double seconds);

#endif
