/* Device memory and page-locked memory, both of them the host's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stub.h"

#define ALIGNMENT 512
#define FRESH 0xCD /* not zero, so that reading memory before writing it shows */
#define FREED 0xEE

struct Block {
    char *start;
    void *raw;
    size_t size;
    int pinned;
    struct Block *next;
};

static struct Block *blocks;
static size_t used, limit = (size_t)8 << 30;

static int contains(const struct Block *block, const void *address, size_t size) {
    const char *start = address;
    return start >= block->start && start + size <= block->start + block->size;
}

int stub_holds(const void *address, size_t size, int pinned) {
    int held = 0;
    pthread_mutex_lock(&stub_lock);
    for (struct Block *block = blocks; block && !held; block = block->next)
        held = block->pinned == pinned && contains(block, address, size);
    pthread_mutex_unlock(&stub_lock);
    return held;
}

static int allocate(void **address, size_t size, int pinned) {
    int error = stub_forbid_in_capture();
    if (error) return error;
    if (!size) return INVALID_VALUE;
    pthread_mutex_lock(&stub_lock);
    if (size > limit - used) {
        pthread_mutex_unlock(&stub_lock);
        return OUT_OF_MEMORY;
    }
    struct Block *block = calloc(1, sizeof *block);
    block->raw = malloc(size + ALIGNMENT);
    block->start = (char *)(((uintptr_t)block->raw + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
    block->size = size;
    block->pinned = pinned;
    block->next = blocks;
    blocks = block;
    used += size;
    *(pinned ? &stub_counts.pinned : &stub_counts.device) += 1;
    pthread_mutex_unlock(&stub_lock);
    memset(block->start, FRESH, size);
    *address = block->start;
    return SUCCESS;
}

/* Work that is still to run then finds its memory gone: a real device waits, but a caller should not count on it. */
static int release(void *address, int pinned) {
    int error = stub_forbid_in_capture();
    if (error) return error;
    struct Block **link = &blocks, *block;
    pthread_mutex_lock(&stub_lock);
    while (*link && ((*link)->start != address || (*link)->pinned != pinned)) link = &(*link)->next;
    if ((block = *link)) {
        *link = block->next;
        used -= block->size;
        *(pinned ? &stub_counts.pinned : &stub_counts.device) -= 1;
    }
    pthread_mutex_unlock(&stub_lock);
    if (!block) return INVALID_VALUE;
    memset(block->start, FREED, block->size);
    free(block->raw);
    free(block);
    return SUCCESS;
}

API(cuMemAlloc_v2)(CUdeviceptr *address, size_t size) {
    ENTER(1);
    void *start = NULL;
    int error = allocate(&start, size, 0);
    *address = (uintptr_t)start;
    return error;
}

API(cuMemFree_v2)(CUdeviceptr address) {
    ENTER(1);
    return release((void *)(uintptr_t)address, 0);
}

API(cuMemHostAlloc)(void **address, size_t size, unsigned flags) {
    ENTER(1);
    return flags ? INVALID_VALUE : allocate(address, size, 1);
}

API(cuMemAllocHost_v2)(void **address, size_t size) {
    ENTER(1);
    return allocate(address, size, 1);
}

API(cuMemFreeHost)(void *address) {
    ENTER(1);
    return release(address, 1);
}

/* Set the memory of the device, in bytes. */
EXPORTED void stub_set_memory(size_t size) {
    pthread_mutex_lock(&stub_lock);
    limit = size > used ? size : used;
    pthread_mutex_unlock(&stub_lock);
}
