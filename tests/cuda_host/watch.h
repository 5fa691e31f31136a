/* watch.h - KILN_CUDA_HOST_WATCH: which memory does each node of a graph change? Two that change
 * the same and need not wait for each other end the program, by name: on a device they would race.
 */
#ifndef KN_CUDA_HOST_WATCH_H
#define KN_CUDA_HOST_WATCH_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

typedef std::map<void *, size_t> cuda_host_memory; /* blocks and their bytes */

class cuda_host_watch {
  public:
    explicit cuda_host_watch(const cuda_host_memory &memory);
    void ran(size_t node); /* just now */
    /* before[i]: the nodes that node i waits for, all less than i. */
    void judge(const std::vector<std::vector<size_t>> &before) const;

  private:
    const cuda_host_memory &memory;
    std::map<void *, std::vector<char>> seen;           /* what each block held */
    std::map<uintptr_t, std::vector<size_t>> change_of; /* nodes that changed a word */
};

#endif
