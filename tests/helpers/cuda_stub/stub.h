/* A stand-in for libcuda.so.1: device memory is host memory, and the work of a stream runs when the stream is
   synchronized. It checks the rules that a caller must keep, and has the functions that the runtime uses: with lazy
   binding, the call of another one ends the process with its name.
   The declarations follow NVIDIA's public reference of the driver API. */
#ifndef HMDRN_CUDA_STUB_H
#define HMDRN_CUDA_STUB_H

#include <pthread.h>
#include <stddef.h>

#ifndef STUB_CUDA_VERSION
#define STUB_CUDA_VERSION 13000
#endif

#define EXPORTED __attribute__((visibility("default")))
#define API(name) EXPORTED int name

typedef unsigned long long CUdeviceptr;
typedef void (*CUhostFn)(void *);

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    ILLEGAL_STATE = 401,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_WRONG_THREAD = 908,
};

/* Numbers of live objects and of calls, which tests read. */
struct Counts {
    long device, pinned, streams, graphs, executables; /* alive */
    long launches, copies, abandoned;                  /* so far; abandoned: work of streams destroyed before it ran */
    long references, flags;                            /* of the primary context */
};

extern pthread_mutex_t stub_lock; /* guards all state of the driver */
extern struct Counts stub_counts;
extern int stub_lost; /* error of a device that is lost, which every later call returns */

/* Return the error with which a function must return at once: SUCCESS if it may go on. */
int stub_enter(const char *function, int needs_context);
#define ENTER(needs_context)                                  \
    do {                                                      \
        int error_ = stub_enter(__func__, needs_context);     \
        if (error_) return error_;                            \
    } while (0)

int stub_context_depth(void);
/* Return an error, and invalidate the capture, if this thread captures: for calls that a capture forbids. */
int stub_forbid_in_capture(void);
/* Whether memory of the device (pinned 0) or page-locked memory (pinned 1) holds all these bytes. */
EXPORTED int stub_holds(const void *address, size_t size, int pinned);

#endif
