/* Initialization, the one device, and each thread's stack of current contexts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stub.h"

#define MAX_DEPTH 64
#define ATTRIBUTE_MAJOR 75
#define ATTRIBUTE_MINOR 76

struct Context {
    int references;
};

pthread_mutex_t stub_lock = PTHREAD_MUTEX_INITIALIZER;
struct Counts stub_counts;
int stub_lost;

static struct Context primary;
static __thread struct Context *stack[MAX_DEPTH];
static __thread int depth;
static int initialized;

static char failing_function[64];
static int failing_code, calls_before_failure;

int stub_context_depth(void) { return depth; }

int stub_enter(const char *function, int needs_context) {
    if (!initialized) return NOT_INITIALIZED;
    pthread_mutex_lock(&stub_lock);
    int failure = failing_code && !strcmp(function, failing_function) && --calls_before_failure < 0;
    int code = failing_code, lost = stub_lost;
    pthread_mutex_unlock(&stub_lock);
    if (failure) return code;
    if (!needs_context) return SUCCESS;
    if (!depth || stack[depth - 1]->references < 1) return INVALID_CONTEXT;
    return lost;
}

API(cuInit)(unsigned flags) {
    if (getenv("HMDRN_STUB_NO_DEVICE")) return NO_DEVICE;
    initialized = 1;
    return flags ? INVALID_VALUE : SUCCESS;
}

API(cuDriverGetVersion)(int *version) {
    *version = STUB_CUDA_VERSION;
    return SUCCESS;
}

API(cuDeviceGetCount)(int *count) {
    ENTER(0);
    *count = 1;
    return SUCCESS;
}

API(cuDeviceGet)(int *device, int ordinal) {
    ENTER(0);
    *device = 0;
    return ordinal ? INVALID_DEVICE : SUCCESS;
}

API(cuDeviceGetName)(char *name, int size, int device) {
    ENTER(0);
    snprintf(name, size, "Stand-in");
    return device ? INVALID_DEVICE : SUCCESS;
}

API(cuDeviceGetAttribute)(int *value, int attribute, int device) {
    ENTER(0);
    *value = attribute == ATTRIBUTE_MAJOR ? 8 : attribute == ATTRIBUTE_MINOR ? 7 : 1;
    return device ? INVALID_DEVICE : SUCCESS;
}

API(cuDevicePrimaryCtxRetain)(struct Context **context, int device) {
    ENTER(0);
    if (device) return INVALID_DEVICE;
    pthread_mutex_lock(&stub_lock);
    stub_counts.references = ++primary.references;
    pthread_mutex_unlock(&stub_lock);
    *context = &primary;
    return SUCCESS;
}

API(cuDevicePrimaryCtxRelease_v2)(int device) {
    ENTER(0);
    if (device) return INVALID_DEVICE;
    pthread_mutex_lock(&stub_lock);
    int held = primary.references > 0;
    if (held) stub_counts.references = --primary.references;
    pthread_mutex_unlock(&stub_lock);
    return held ? SUCCESS : INVALID_CONTEXT;
}

/* How threads wait (bits 0 to 2 of the flags), and memory that stays mapped (8 and 16): for all of the process. */
API(cuDevicePrimaryCtxSetFlags_v2)(int device, unsigned flags) {
    ENTER(0);
    if (device) return INVALID_DEVICE;
    if (flags & ~31u) return INVALID_VALUE;
    pthread_mutex_lock(&stub_lock);
    stub_counts.flags = flags;
    pthread_mutex_unlock(&stub_lock);
    return SUCCESS;
}

static int push(struct Context *context) {
    if (!context || context->references < 1 || depth == MAX_DEPTH) return INVALID_CONTEXT;
    stack[depth++] = context;
    return SUCCESS;
}

/* A context of another library; it becomes current and is never freed. */
API(cuCtxCreate_v2)(struct Context **context, unsigned flags, int device) {
    ENTER(0);
    if (device || flags) return INVALID_VALUE;
    *context = calloc(1, sizeof **context);
    (*context)->references = 1;
    return push(*context);
}

API(cuCtxPushCurrent_v2)(struct Context *context) {
    ENTER(0);
    return push(context);
}

API(cuCtxPopCurrent_v2)(struct Context **context) {
    ENTER(0);
    if (!depth) return INVALID_CONTEXT;
    depth--;
    if (context) *context = stack[depth];
    return SUCCESS;
}

API(cuCtxGetCurrent)(struct Context **context) {
    ENTER(0);
    *context = depth ? stack[depth - 1] : NULL;
    return SUCCESS;
}

/* Make the calls of a function fail with a code, after so many that do not; no function fails for code 0. */
EXPORTED void stub_fail(const char *function, int code, int after) {
    pthread_mutex_lock(&stub_lock);
    snprintf(failing_function, sizeof failing_function, "%s", function);
    failing_code = code;
    calls_before_failure = after;
    pthread_mutex_unlock(&stub_lock);
}
