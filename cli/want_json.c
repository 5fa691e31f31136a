/* want_json.c - is --json there? Apart from args.c, as kiln-download asks the same. */
#include "args.h"

#include <string.h>

bool args_want_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}
