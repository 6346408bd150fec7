/* Streams, copies, and the capture and launch of graphs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stub.h"

#define NON_BLOCKING 1u
#define MODE_THREAD_LOCAL 1

enum Magic { STREAM = 0x57, GRAPH = 0x6A, EXECUTABLE = 0x6B };

/* A copy, or the call of a host function. The staged copy of pageable memory belongs to the step. */
struct Step {
    void *target;
    const void *source;
    size_t size;
    int target_pinned, source_pinned; /* -1: pageable */
    void *staged;
    CUhostFn function;
    void *argument;
    struct Step *next;
};

struct Steps {
    struct Step *first, *last;
};

struct Graph {
    enum Magic magic;
    struct Steps steps;
};

struct Stream {
    enum Magic magic;
    struct Steps pending;
    struct Graph *recording;
    int invalidated;
    pthread_t recorder;
    pthread_mutex_t running; /* one thread at a time runs its work */
};

static __thread struct Stream *capturing;

int stub_forbid_in_capture(void) {
    if (!capturing) return SUCCESS;
    capturing->invalidated = 1;
    return CAPTURE_UNSUPPORTED;
}

static void append(struct Steps *steps, const struct Step *step) {
    struct Step *copy = malloc(sizeof *copy);
    *copy = *step;
    copy->next = NULL;
    if (steps->last) steps->last->next = copy;
    else steps->first = copy;
    steps->last = copy;
}

static int clear(struct Steps *steps) {
    int count = 0;
    for (struct Step *step = steps->first, *next; step; step = next, count++) {
        next = step->next;
        free(step->staged);
        free(step);
    }
    steps->first = steps->last = NULL;
    return count;
}

static int reaches(const void *address, size_t size, int pinned) {
    return pinned < 0 || stub_holds(address, size, pinned);
}

static void run_step(const struct Step *step) {
    if (step->function) {
        step->function(step->argument);
    } else if (reaches(step->target, step->size, step->target_pinned) &&
               (step->staged || reaches(step->source, step->size, step->source_pinned))) {
        memmove(step->target, step->staged ? step->staged : step->source, step->size);
    } else {
        stub_lost = ILLEGAL_ADDRESS;
    }
}

static void drain(struct Stream *stream) {
    pthread_mutex_lock(&stream->running);
    pthread_mutex_lock(&stub_lock);
    struct Steps steps = stream->pending;
    stream->pending.first = stream->pending.last = NULL;
    pthread_mutex_unlock(&stub_lock);
    for (struct Step *step = steps.first; step; step = step->next) run_step(step);
    pthread_mutex_unlock(&stream->running);
    clear(&steps);
}

static int enqueue(struct Stream *stream, const struct Step *step) {
    if (stream->recording) {
        if (stream->invalidated) return CAPTURE_INVALIDATED;
        append(&stream->recording->steps, step);
        return SUCCESS;
    }
    pthread_mutex_lock(&stub_lock);
    append(&stream->pending, step);
    pthread_mutex_unlock(&stub_lock);
    return SUCCESS;
}

static int is_stream(const struct Stream *stream) { return stream && stream->magic == STREAM; }

static int copy(void *target, const void *source, size_t size, int to_host, int from_host, struct Stream *stream) {
    if (!is_stream(stream)) return INVALID_HANDLE;
    struct Step step = {.target = target, .source = source, .size = size};
    if (to_host) step.target_pinned = stub_holds(target, size, 1) ? 1 : -1;
    if (from_host) step.source_pinned = stub_holds(source, size, 1) ? 1 : -1;
    if (!reaches(target, size, step.target_pinned) || !reaches(source, size, step.source_pinned)) return INVALID_VALUE;
    if (step.source_pinned < 0 && !stream->recording) {
        step.staged = malloc(size);
        memcpy(step.staged, source, size);
    }
    pthread_mutex_lock(&stub_lock);
    stub_counts.copies++;
    pthread_mutex_unlock(&stub_lock);
    int error = enqueue(stream, &step);
    if (error) free(step.staged);
    else if (step.target_pinned < 0 && !stream->recording) drain(stream); /* such a copy waits */
    return error;
}

API(cuMemcpyHtoDAsync_v2)(CUdeviceptr target, const void *source, size_t size, struct Stream *stream) {
    ENTER(1);
    return copy((void *)(uintptr_t)target, source, size, 0, 1, stream);
}

API(cuMemcpyDtoHAsync_v2)(void *target, CUdeviceptr source, size_t size, struct Stream *stream) {
    ENTER(1);
    return copy(target, (void *)(uintptr_t)source, size, 1, 0, stream);
}

API(cuMemcpyDtoDAsync_v2)(CUdeviceptr target, CUdeviceptr source, size_t size, struct Stream *stream) {
    ENTER(1);
    return copy((void *)(uintptr_t)target, (void *)(uintptr_t)source, size, 0, 0, stream);
}

/* Stands for a kernel. Unlike a real host function it may call CUDA. */
API(cuLaunchHostFunc)(struct Stream *stream, CUhostFn function, void *argument) {
    ENTER(1);
    if (!is_stream(stream)) return INVALID_HANDLE;
    struct Step step = {.function = function, .argument = argument};
    return enqueue(stream, &step);
}

API(cuStreamCreate)(struct Stream **stream, unsigned flags) {
    ENTER(1);
    if (flags != NON_BLOCKING) return INVALID_VALUE; /* any other would wait for the default stream */
    *stream = calloc(1, sizeof **stream);
    (*stream)->magic = STREAM;
    pthread_mutex_init(&(*stream)->running, NULL);
    pthread_mutex_lock(&stub_lock);
    stub_counts.streams++;
    pthread_mutex_unlock(&stub_lock);
    return SUCCESS;
}

/* The handle's memory is not freed, so that a later use is noticed. */
API(cuStreamDestroy_v2)(struct Stream *stream) {
    ENTER(1);
    if (!is_stream(stream)) return INVALID_HANDLE;
    pthread_mutex_lock(&stub_lock);
    stream->magic = 0;
    stub_counts.streams--;
    stub_counts.abandoned += clear(&stream->pending);
    pthread_mutex_unlock(&stub_lock);
    return SUCCESS;
}

API(cuStreamSynchronize)(struct Stream *stream) {
    ENTER(1);
    if (!is_stream(stream)) return INVALID_HANDLE;
    if (stream->recording) {
        stream->invalidated = 1;
        return CAPTURE_UNSUPPORTED;
    }
    drain(stream);
    return stub_lost;
}

API(cuStreamIsCapturing)(struct Stream *stream, int *status) {
    ENTER(1);
    if (!is_stream(stream)) return INVALID_HANDLE;
    *status = !stream->recording ? 0 : stream->invalidated ? 2 : 1;
    return SUCCESS;
}

API(cuStreamBeginCapture_v2)(struct Stream *stream, int mode) {
    ENTER(1);
    if (!is_stream(stream) || mode != MODE_THREAD_LOCAL) return INVALID_VALUE; /* others would hold up other threads */
    if (stream->recording) return ILLEGAL_STATE;
    stream->recording = calloc(1, sizeof *stream->recording);
    stream->recording->magic = GRAPH;
    stream->invalidated = 0;
    stream->recorder = pthread_self();
    capturing = stream;
    return SUCCESS;
}

API(cuStreamEndCapture)(struct Stream *stream, struct Graph **graph) {
    ENTER(1);
    *graph = NULL;
    if (!is_stream(stream) || !stream->recording) return ILLEGAL_STATE;
    if (!pthread_equal(stream->recorder, pthread_self())) return CAPTURE_WRONG_THREAD;
    struct Graph *recorded = stream->recording;
    stream->recording = NULL;
    capturing = NULL;
    if (stream->invalidated) {
        clear(&recorded->steps);
        free(recorded);
        return CAPTURE_INVALIDATED;
    }
    pthread_mutex_lock(&stub_lock);
    stub_counts.graphs++;
    pthread_mutex_unlock(&stub_lock);
    *graph = recorded;
    return SUCCESS;
}

#if STUB_CUDA_VERSION >= 11040
API(cuGraphInstantiateWithFlags)(struct Graph **executable, struct Graph *graph, unsigned long long flags) {
    ENTER(1);
    if (!graph || graph->magic != GRAPH || flags) return INVALID_VALUE;
    *executable = calloc(1, sizeof **executable);
    (*executable)->magic = EXECUTABLE;
    for (struct Step *step = graph->steps.first; step; step = step->next) append(&(*executable)->steps, step);
    pthread_mutex_lock(&stub_lock);
    stub_counts.executables++;
    pthread_mutex_unlock(&stub_lock);
    return SUCCESS;
}
#endif

static int destroy(struct Graph *graph, enum Magic magic, long *count) {
    if (!graph || graph->magic != magic) return INVALID_VALUE;
    int error = stub_forbid_in_capture();
    if (error) return error;
    pthread_mutex_lock(&stub_lock);
    graph->magic = 0;
    clear(&graph->steps);
    --*count;
    pthread_mutex_unlock(&stub_lock);
    return SUCCESS;
}

API(cuGraphDestroy)(struct Graph *graph) {
    ENTER(0);
    return destroy(graph, GRAPH, &stub_counts.graphs);
}

API(cuGraphExecDestroy)(struct Graph *executable) {
    ENTER(0);
    return destroy(executable, EXECUTABLE, &stub_counts.executables);
}

API(cuGraphLaunch)(struct Graph *executable, struct Stream *stream) {
    ENTER(1);
    if (!executable || executable->magic != EXECUTABLE || !is_stream(stream)) return INVALID_HANDLE;
    if (stream->recording) return CAPTURE_UNSUPPORTED;
    pthread_mutex_lock(&stub_lock);
    for (struct Step *step = executable->steps.first; step; step = step->next) append(&stream->pending, step);
    stub_counts.launches++;
    pthread_mutex_unlock(&stub_lock);
    return SUCCESS;
}
