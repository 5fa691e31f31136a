/* home.h - the folder where Kiln keeps what it makes or fetches for itself. */
#ifndef KILN_CLI_HOME_H
#define KILN_CLI_HOME_H

#include <kiln/base.h>

#include <limits.h>

/* $KILN_HOME, else $XDG_CACHE_HOME/kiln, else ~/.cache/kiln. */
kn_status home_path(char path[PATH_MAX], kn_error *error);

/* folder and rest, one behind the other; KN_ERR_IO when that is too long. */
kn_status home_join(char path[PATH_MAX], const char *folder, const char *rest, kn_error *error);

#endif
