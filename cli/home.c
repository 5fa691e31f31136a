/* home.c - see home.h. */
#include "home.h"

#include <stdio.h>
#include <stdlib.h>

kn_status home_join(char path[PATH_MAX], const char *folder, const char *rest, kn_error *error) {
    int length = snprintf(path, PATH_MAX, "%s%s", folder, rest);
    if (length < 0 || length >= PATH_MAX)
        return kn_error_set(error, KN_ERR_IO, "%s%s: the path is too long", folder, rest);
    return KN_OK;
}

kn_status home_path(char path[PATH_MAX], kn_error *error) {
    const char *own = getenv("KILN_HOME"), *cache = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (own != NULL && own[0] != '\0')
        return home_join(path, own, "", error);
    if (cache != NULL && cache[0] == '/') /* the XDG rules: a relative one is to be ignored */
        return home_join(path, cache, "/kiln", error);
    if (home != NULL && home[0] != '\0')
        return home_join(path, home, "/.cache/kiln", error);
    path[0] = '\0';
    return kn_error_set(error, KN_ERR_IO,
                        "no folder to keep data in: neither KILN_HOME nor HOME is set");
}
