/* The lookup of functions by name, the names of errors, and the counts for tests. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "stub.h"

#define NEWEST_SUFFIX 4

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
};

static int find_error(int code) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return (int)i;
    return -1;
}

API(cuGetErrorName)(int code, const char **name) {
    int i = find_error(code);
    *name = i < 0 ? "CUDA_ERROR_UNKNOWN" : errors[i].name;
    return SUCCESS;
}

API(cuGetErrorString)(int code, const char **text) {
    int i = find_error(code);
    *text = i < 0 ? "unknown error" : errors[i].text;
    return SUCCESS;
}

/* The newest version of a function, as the driver returns it to a caller built for a newer CUDA. */
static void *look_up(const char *name, int version) {
    static void *self;
    Dl_info info;
    if (!self && dladdr((void *)look_up, &info)) self = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    char versioned[128];
    int oldest = !strcmp(name, "cuGetProcAddress") && version < 12000 ? NEWEST_SUFFIX + 1 : 2;
    for (int suffix = NEWEST_SUFFIX; suffix >= oldest; suffix--) {
        snprintf(versioned, sizeof versioned, "%s_v%d", name, suffix);
        void *function = dlsym(self, versioned);
        if (function) return function;
    }
    /* CUDA 12 gives this function the name of the one that it replaced. */
    return dlsym(self, strcmp(name, "cuGraphInstantiate") ? name : "cuGraphInstantiateWithFlags");
}

API(cuGetProcAddress)(const char *name, void **function, int version, unsigned long long flags) {
    (void)flags;
    *function = look_up(name, version);
    return *function ? SUCCESS : NOT_FOUND;
}

#if STUB_CUDA_VERSION >= 12000
API(cuGetProcAddress_v2)(const char *name, void **function, int version, unsigned long long flags, int *status) {
    int error = cuGetProcAddress(name, function, version, flags);
    if (status) *status = error ? 1 : 0;
    return error;
}
#endif

/* Return a count by its name, the depth of this thread's stack of contexts, or -1. */
EXPORTED long stub_count(const char *name) {
    const struct {
        const char *name;
        long value;
    } counts[] = {
        {"device", stub_counts.device},           {"pinned", stub_counts.pinned},
        {"streams", stub_counts.streams},         {"graphs", stub_counts.graphs},
        {"executables", stub_counts.executables}, {"launches", stub_counts.launches},
        {"copies", stub_counts.copies},           {"abandoned", stub_counts.abandoned},
        {"references", stub_counts.references},   {"depth", stub_context_depth()},
        {"flags", stub_counts.flags},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!strcmp(counts[i].name, name)) return counts[i].value;
    return -1;
}
