/* suggest.c - the nearest spelling, so that a slip costs one look and not a search in --help. */
#include "args.h"

#include <string.h>

enum { MAX_NAME = 31 };

static int min2(int a, int b) {
    return a < b ? a : b;
}

/* Optimal string alignment distance: insertions, deletions, replacements, and swaps of neighbours,
 * one each. Both are at most MAX_NAME long. */
static int distance(const char *a, const char *b) {
    int row[3][MAX_NAME + 2]; /* of two letters ago, the letter before, this letter */
    int n = (int)strlen(a), m = (int)strlen(b);
    for (int j = 0; j <= m; j++)
        row[1][j] = j;
    for (int i = 1; i <= n; i++) {
        row[2][0] = i;
        for (int j = 1; j <= m; j++) {
            int cost = a[i - 1] == b[j - 1] ? 0 : 1;
            row[2][j] = min2(row[1][j - 1] + cost, min2(row[1][j], row[2][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[2][j] = min2(row[2][j], row[0][j - 2] + 1);
        }
        memcpy(row[0], row[1], sizeof row[0]);
        memcpy(row[1], row[2], sizeof row[1]);
    }
    return row[1][m];
}

const char *suggest(const char *typed, const char *(*next)(const void *user, int i),
                    const void *user) {
    size_t length = strlen(typed);
    if (length < 2 || length > MAX_NAME)
        return NULL;
    /* A third of the letters may be wrong; a name that was cut short is near in any case. */
    int best = length < 6 ? 3 : (int)length / 3 + 1;
    const char *found = NULL, *name;
    for (int i = 0; (name = next(user, i)) != NULL; i++) {
        if (strlen(name) > MAX_NAME)
            continue;
        int d = strncmp(name, typed, length) == 0 ? 1 : distance(typed, name);
        if (d < best) {
            best = d;
            found = name;
        }
    }
    return found;
}
