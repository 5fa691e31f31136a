/* watch.cpp - see watch.h. Who writes what was there already is not seen. */
#include "watch.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum { WORD = 4 };

cuda_host_watch::cuda_host_watch(const cuda_host_memory &all) : memory(all) {
    for (auto &block : memory) {
        const char *at = static_cast<const char *>(block.first);
        seen[block.first].assign(at, at + block.second);
    }
}

void cuda_host_watch::ran(size_t node) {
    for (auto &block : memory) {
        const char *now = static_cast<const char *>(block.first);
        char *old = seen[block.first].data();
        if (memcmp(now, old, block.second) == 0)
            continue;
        for (size_t i = 0; i < block.second; i += WORD) {
            size_t bytes = block.second - i < WORD ? block.second - i : size_t(WORD);
            if (memcmp(now + i, old + i, bytes) != 0)
                change_of[reinterpret_cast<uintptr_t>(now + i)].push_back(node);
        }
        memcpy(old, now, block.second);
    }
}

/* known[i][j]: node i waits for node j, by way of others too. */
static std::vector<std::vector<bool>> all_before(const std::vector<std::vector<size_t>> &before) {
    std::vector<std::vector<bool>> known(before.size());
    for (size_t i = 0; i < before.size(); i++) {
        known[i].resize(before.size());
        for (size_t j : before[i]) {
            known[i][j] = true;
            for (size_t k = 0; k < j; k++)
                known[i][k] = known[i][k] || known[j][k];
        }
    }
    return known;
}

void cuda_host_watch::judge(const std::vector<std::vector<size_t>> &before) const {
    std::vector<std::vector<bool>> known = all_before(before);
    for (auto &word : change_of)
        for (size_t a : word.second)
            for (size_t b : word.second)
                if (a < b && !known[b][a]) {
                    fprintf(stderr,
                            "cuda_host: nodes %zu and %zu of a graph change the same memory, and "
                            "neither waits for the other\n",
                            a, b);
                    abort();
                }
}
