// A stand-in for libcuda.so.1, for tests of how cuda-python is called where there is no GPU: memory is the processor's,
// kernels are written down and not run. As strict as the driver: it wants a context in the calling thread, handles and
// addresses it gave itself, and work on a stream waits until somebody waits for it. What a kernel takes is read from
// its cubin, as the driver reads it.
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
    NOT_FOUND = 500, NOT_READY = 600, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
    CAPTURED_EVENT = 907
};
enum { COPY, SET, LAUNCH, MARK };
enum { DEVICE = 0, CONTEXT = 0xC0, MODE_RELAXED = 2, LOG = 1 << 20, MOST = 4096 };
#define TOTAL (64ll << 20)

typedef struct Work {
    int kind;
    uintptr_t to, from;  // MARK: the event, LAUNCH: a line of text
    size_t size;
    struct Work* next;
} Work;
typedef struct { uint32_t magic; Work* first; } List;  // of streams and graphs
typedef struct { List work; int capturing, mode, invalid; List* graph; } Stream;
typedef struct { uint32_t magic; int done; uint64_t when; Stream* on; } Event;
typedef struct { uint32_t magic; unsigned char* image; size_t size; } Module;
typedef struct { uint32_t magic; char name[128]; int count, size[64], most; } Function;
enum { STREAM = 0x51A1, GRAPH, RUNNABLE, EVENT, MODULE, FUNCTION };  // magic numbers: whose handle it is

static struct { uintptr_t at; size_t size; int host; } held[MOST];
static long long taken;
static __thread int current, relaxed;
static __thread Stream* captured;  // by this thread
static uint64_t clock_ms;
static char lines[LOG], failing[64];
static int failure;

// For the test: what was launched, one kernel a line; how much is held; make the next call of a name fail.
const char* fake_log(void) { return lines; }
void fake_forget(void) { lines[0] = 0; }
long long fake_taken(void) { return taken; }
void fake_fail(const char* name, int answer) { snprintf(failing, sizeof failing, "%s", name); failure = answer; }

static int trouble(const char* name) {
    if (!failure || strcmp(failing, name)) return OK;
    int answer = failure;
    failure = 0;
    return answer;
}
#define CALL(name) { int wrong = trouble(name); if (wrong) return wrong; }
#define IN_CONTEXT(name) { CALL(name) if (!current) return INVALID_CONTEXT; }
// What may not be done while this thread captures, unless relaxed; it spoils the capture.
#define UNSAFE \
    if (captured && captured->mode != MODE_RELAXED && !relaxed) { captured->invalid = 1; return CAPTURE_UNSUPPORTED; }
#define IS(handle, type, kind) (!(handle) || ((type*)(handle))->magic != (kind))

static int inside(uintptr_t at, size_t size, int host) {
    for (int i = 0; i < MOST; i++)
        if (held[i].at && at >= held[i].at && at + size <= held[i].at + held[i].size) return held[i].host == host;
    return 0;
}
static int on_device(uintptr_t at) { return inside(at, 0, 0); }

static void put(List* list, Work work) {
    Work** end = &list->first;
    while (*end) end = &(*end)->next;
    *end = malloc(sizeof work);
    work.next = NULL;
    **end = work;
}
static void run(const Work* w) {
    if (w->kind == COPY) memcpy((void*)w->to, (void*)w->from, w->size);
    if (w->kind == SET) memset((void*)w->to, (int)w->from, w->size);
    if (w->kind == MARK) { Event* e = (Event*)w->to; e->done = 1; e->when = ++clock_ms; }
    if (w->kind == LAUNCH) {
        size_t full = strlen(lines);
        snprintf(lines + full, LOG - full, "%s\n", (char*)w->from);
    }
}
static int give(Stream* stream, int kind, uintptr_t to, uintptr_t from, size_t size) {
    Work work = {kind, to, from, size, NULL};
    if (!stream) { run(&work); return OK; }  // the default stream: done at once
    if (IS(stream, List, STREAM)) return INVALID_HANDLE;
    put(stream->capturing ? stream->graph : &stream->work, work);
    return OK;
}
static void drain(Stream* stream) {
    for (Work* w = stream->work.first; w; w = w->next) run(w);
    stream->work.first = NULL;
}

// Device and context.
static int Init(unsigned flags) { CALL("cuInit") return flags ? INVALID_VALUE : OK; }
int cuDriverGetVersion(int* out) { *out = 13000; return OK; }
static int DeviceGetCount(int* out) { *out = 1; return OK; }
static int DeviceGet(int* out, int ordinal) { *out = DEVICE; return ordinal ? 101 : OK; }
static int DeviceGetName(char* out, int size, int device) {
    snprintf(out, size, "Stand-in for a GPU");
    return device == DEVICE ? OK : 101;
}
static int DeviceGetAttribute(int* out, int which, int device) {
    *out = which == 16 ? 132 : which == 75 ? 9 : 0;  // 76: minor
    return device == DEVICE ? OK : 101;
}
static int DevicePrimaryCtxRetain(void** out, int device) { *out = (void*)CONTEXT; return device == DEVICE ? OK : 101; }
static int CtxSetCurrent(void* context) {
    CALL("cuCtxSetCurrent")
    if (context != (void*)CONTEXT) return INVALID_CONTEXT;
    current = 1;
    return OK;
}

// Memory.
static int hold(uintptr_t* out, size_t size, int host) {
    if (!size) return INVALID_VALUE;
    if (!host && taken + (long long)size > TOTAL) return OUT_OF_MEMORY;
    for (int i = 0; i < MOST; i++)
        if (!held[i].at) {
            *out = held[i].at = (uintptr_t)aligned_alloc(256, (size + 255) & ~255ull);
            memset((void*)*out, 0xFF, size);
            held[i].size = size;
            held[i].host = host;
            taken += host ? 0 : size;
            return OK;
        }
    return OUT_OF_MEMORY;
}
static int let_go(uintptr_t at, int host) {
    for (int i = 0; i < MOST; i++)
        if (at && held[i].at == at && held[i].host == host) {
            taken -= host ? 0 : held[i].size;
            free((void*)at);
            held[i].at = 0;
            return OK;
        }
    return INVALID_VALUE;
}
static int MemGetInfo(size_t* left, size_t* total) {
    IN_CONTEXT("cuMemGetInfo")
    *left = TOTAL - taken, *total = TOTAL;
    return OK;
}
static int MemAlloc(uintptr_t* out, size_t size) { IN_CONTEXT("cuMemAlloc") UNSAFE return hold(out, size, 0); }
static int MemHostAlloc(uintptr_t* out, size_t size, unsigned flags) {
    IN_CONTEXT("cuMemHostAlloc") UNSAFE
    return flags > 7 ? INVALID_VALUE : hold(out, size, 1);
}
static int MemFree(uintptr_t at) { IN_CONTEXT("cuMemFree") UNSAFE return let_go(at, 0); }
static int MemFreeHost(uintptr_t at) { IN_CONTEXT("cuMemFreeHost") UNSAFE return let_go(at, 1); }
static int MemcpyHtoD(uintptr_t to, uintptr_t from, size_t size) {
    IN_CONTEXT("cuMemcpyHtoD") UNSAFE
    if (!inside(to, size, 0) || on_device(from)) return INVALID_VALUE;
    memcpy((void*)to, (void*)from, size);
    return OK;
}
static int MemcpyDtoH(uintptr_t to, uintptr_t from, size_t size) {
    IN_CONTEXT("cuMemcpyDtoH") UNSAFE
    if (!inside(from, size, 0) || on_device(to)) return INVALID_VALUE;
    memcpy((void*)to, (void*)from, size);
    return OK;
}
static int MemcpyHtoDAsync(uintptr_t to, uintptr_t from, size_t size, Stream* stream) {
    IN_CONTEXT("cuMemcpyHtoDAsync")
    if (!inside(to, size, 0) || on_device(from)) return INVALID_VALUE;
    return give(stream, COPY, to, from, size);
}
static int MemcpyDtoHAsync(uintptr_t to, uintptr_t from, size_t size, Stream* stream) {
    IN_CONTEXT("cuMemcpyDtoHAsync")
    if (!inside(from, size, 0) || on_device(to)) return INVALID_VALUE;
    return give(stream, COPY, to, from, size);
}
static int MemcpyDtoDAsync(uintptr_t to, uintptr_t from, size_t size, Stream* stream) {
    IN_CONTEXT("cuMemcpyDtoDAsync")
    if (!inside(from, size, 0) || !inside(to, size, 0)) return INVALID_VALUE;
    return give(stream, COPY, to, from, size);
}
static int MemsetD8Async(uintptr_t at, unsigned char value, size_t size, Stream* stream) {
    IN_CONTEXT("cuMemsetD8Async")
    return inside(at, size, 0) ? give(stream, SET, at, value, size) : INVALID_VALUE;
}

// Kernels: section .nv.info.NAME of a cubin says their arguments' sizes (attribute 0x17) and most threads (0x05).
static int ModuleLoadData(Module** out, const unsigned char* image) {
    IN_CONTEXT("cuModuleLoadData") UNSAFE
    const Elf64_Ehdr* head = (const void*)image;
    if (memcmp(image, ELFMAG, SELFMAG) || head->e_machine != 190) return INVALID_IMAGE;  // EM_CUDA
    size_t size = head->e_shoff + (size_t)head->e_shnum * sizeof(Elf64_Shdr);
    const Elf64_Shdr* section = (const void*)(image + head->e_shoff);
    for (int i = 0; i < head->e_shnum; i++)
        if (section[i].sh_type != SHT_NOBITS && section[i].sh_offset + section[i].sh_size > size)
            size = section[i].sh_offset + section[i].sh_size;
    *out = malloc(sizeof **out);
    **out = (Module){MODULE, memcpy(malloc(size), image, size), size};  // the caller may let go of it
    return OK;
}
static int ModuleGetFunction(Function** out, Module* module, const char* name) {
    IN_CONTEXT("cuModuleGetFunction")
    if (IS(module, Module, MODULE)) return INVALID_HANDLE;
    const Elf64_Ehdr* head = (const void*)module->image;
    const Elf64_Shdr* section = (const void*)(module->image + head->e_shoff);
    const char* names = (const char*)module->image + section[head->e_shstrndx].sh_offset;
    for (int i = 0; i < head->e_shnum; i++) {
        const char* own = names + section[i].sh_name;
        if (strncmp(own, ".nv.info.", 9) || strcmp(own + 9, name)) continue;
        Function* f = *out = calloc(1, sizeof *f);
        f->magic = FUNCTION;
        f->most = 1024;
        snprintf(f->name, sizeof f->name, "%s", name);
        const unsigned char *at = module->image + section[i].sh_offset, *end = at + section[i].sh_size;
        for (; at + 4 <= end; at += 4 + (at[0] == 4 ? at[2] | at[3] << 8 : 0)) {
            uint32_t words[3] = {0};
            if (at[0] == 4 && (at[1] == 0x17 || at[1] == 0x05)) memcpy(words, at + 4, 12);
            if (at[0] == 4 && at[1] == 0x05) f->most = words[0] * words[1] * words[2];
            if (at[0] != 4 || at[1] != 0x17) continue;
            int number = words[1] & 0xFFFF;
            f->size[number] = words[2] >> 18;
            if (number >= f->count) f->count = number + 1;
        }
        return OK;
    }
    return NOT_FOUND;
}
static int LaunchKernel(
    Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
    Stream* stream, void** arguments, void** extra
) {
    IN_CONTEXT("cuLaunchKernel")
    if (IS(f, Function, FUNCTION)) return INVALID_HANDLE;
    if (!gx || !gy || !gz || gy > 65535 || gz > 65535) return INVALID_VALUE;
    if (!bx || !by || !bz || bz > 64 || bx * by * bz > (unsigned)f->most) return INVALID_VALUE;
    if (shared || extra || (f->count && !arguments)) return INVALID_VALUE;
    char* line = malloc(LOG / 16);
    int full = sprintf(line, "%s %u,%u,%u %u,%u,%u %d", f->name, gx, gy, gz, bx, by, bz, !!stream);
    for (int i = 0; i < f->count; i++) {
        full += sprintf(line + full, " ");
        for (int j = 0; j < f->size[i]; j++) full += sprintf(line + full, "%02x", ((unsigned char*)arguments[i])[j]);
    }
    return give(stream, LAUNCH, 0, (uintptr_t)line, 0);
}

// Streams, events, graphs.
static int StreamCreate(Stream** out, unsigned flags) {
    IN_CONTEXT("cuStreamCreate")
    if (flags > 1) return INVALID_VALUE;
    *out = calloc(1, sizeof **out);
    (*out)->work.magic = STREAM;
    return OK;
}
static int StreamSynchronize(Stream* stream) {
    CALL("cuStreamSynchronize")
    if (!stream) return OK;
    if (IS(stream, List, STREAM)) return INVALID_HANDLE;
    if (stream->capturing) { stream->invalid = 1; return CAPTURE_UNSUPPORTED; }
    drain(stream);
    return OK;
}
static int StreamWaitEvent(Stream* stream, Event* event, unsigned flags) {
    IN_CONTEXT("cuStreamWaitEvent")
    return IS(event, Event, EVENT) || IS(stream, List, STREAM) ? INVALID_HANDLE : flags > 1 ? INVALID_VALUE : OK;
}
static int StreamBeginCapture(Stream* stream, int mode) {
    IN_CONTEXT("cuStreamBeginCapture")
    if (!stream || mode < 0 || mode > 2) return INVALID_VALUE;
    if (IS(stream, List, STREAM)) return INVALID_HANDLE;
    captured = stream;
    stream->capturing = 1, stream->mode = mode, stream->invalid = 0;
    stream->graph = calloc(1, sizeof(List));
    stream->graph->magic = GRAPH;
    return OK;
}
static int StreamEndCapture(Stream* stream, List** out) {
    IN_CONTEXT("cuStreamEndCapture")
    if (IS(stream, List, STREAM)) return INVALID_HANDLE;
    if (!stream->capturing) return INVALID_VALUE;
    captured = NULL, stream->capturing = 0;
    *out = stream->invalid ? NULL : stream->graph;
    return stream->invalid ? CAPTURE_INVALIDATED : OK;
}
static int ThreadExchangeStreamCaptureMode(int* mode) {
    int before = relaxed ? MODE_RELAXED : 0;  // the one other mode that is told apart here
    relaxed = *mode == MODE_RELAXED;
    *mode = before;
    return OK;
}
static int GraphInstantiate(List** out, List* graph, unsigned long long flags) {
    IN_CONTEXT("cuGraphInstantiate")
    if (IS(graph, List, GRAPH) || flags) return INVALID_VALUE;
    *out = calloc(1, sizeof **out);
    (*out)->magic = RUNNABLE;
    for (Work* w = graph->first; w; w = w->next) put(*out, *w);
    return OK;
}
static int GraphDestroy(List* graph) {
    if (IS(graph, List, GRAPH)) return INVALID_VALUE;
    graph->magic = 0;
    return OK;
}
static int GraphExecDestroy(List* graph) {
    if (IS(graph, List, RUNNABLE)) return INVALID_VALUE;
    graph->magic = 0;
    return OK;
}
static int GraphLaunch(List* graph, Stream* stream) {
    IN_CONTEXT("cuGraphLaunch")
    if (IS(graph, List, RUNNABLE)) return INVALID_VALUE;
    for (Work* w = graph->first; w; w = w->next) {
        int wrong = give(stream, w->kind, w->to, w->from, w->size);
        if (wrong) return wrong;
    }
    return OK;
}
static int EventCreate(Event** out, unsigned flags) {
    IN_CONTEXT("cuEventCreate")
    *out = malloc(sizeof **out);
    **out = (Event){EVENT, 1, 0, NULL};
    return flags > 7 ? INVALID_VALUE : OK;
}
static int EventRecord(Event* event, Stream* stream) {
    IN_CONTEXT("cuEventRecord")
    if (IS(event, Event, EVENT)) return INVALID_HANDLE;
    event->done = 0;
    event->on = stream;
    return give(stream, MARK, (uintptr_t)event, 0, 0);
}
static int EventQuery(Event* event) {
    CALL("cuEventQuery")
    if (IS(event, Event, EVENT)) return INVALID_HANDLE;
    return event->done ? OK : event->on->capturing ? CAPTURED_EVENT : NOT_READY;
}
static int EventSynchronize(Event* event) {
    if (IS(event, Event, EVENT)) return INVALID_HANDLE;
    if (!event->done && event->on->capturing) return CAPTURED_EVENT;
    if (!event->done) drain(event->on);
    return OK;
}
static int EventElapsedTime(float* out, Event* start, Event* end) {
    if (IS(start, Event, EVENT) || IS(end, Event, EVENT)) return INVALID_HANDLE;
    if (!start->done || !end->done) return NOT_READY;
    *out = (float)(end->when - start->when);
    return OK;
}
static int EventDestroy(Event* event) {
    if (IS(event, Event, EVENT)) return INVALID_HANDLE;
    event->magic = 0;
    return OK;
}

#define ENTRY(name) {"cu" #name, (void*)name}
static const struct { const char* name; void* function; } entries[] = {
    {"cuDriverGetVersion", (void*)cuDriverGetVersion}, {"cuGraphInstantiateWithFlags", (void*)GraphInstantiate},
    ENTRY(Init), ENTRY(DeviceGetCount), ENTRY(DeviceGet), ENTRY(DeviceGetName), ENTRY(DeviceGetAttribute),
    ENTRY(DevicePrimaryCtxRetain), ENTRY(CtxSetCurrent), ENTRY(MemGetInfo), ENTRY(MemAlloc), ENTRY(MemHostAlloc),
    ENTRY(MemFree), ENTRY(MemFreeHost), ENTRY(MemcpyHtoD), ENTRY(MemcpyDtoH), ENTRY(MemcpyHtoDAsync),
    ENTRY(MemcpyDtoHAsync), ENTRY(MemcpyDtoDAsync), ENTRY(MemsetD8Async), ENTRY(ModuleLoadData),
    ENTRY(ModuleGetFunction), ENTRY(LaunchKernel), ENTRY(StreamCreate), ENTRY(StreamSynchronize),
    ENTRY(StreamWaitEvent), ENTRY(StreamBeginCapture), ENTRY(StreamEndCapture), ENTRY(GraphInstantiate),
    ENTRY(GraphDestroy), ENTRY(GraphExecDestroy), ENTRY(GraphLaunch), ENTRY(EventCreate), ENTRY(EventRecord),
    ENTRY(EventQuery), ENTRY(EventSynchronize), ENTRY(EventElapsedTime), ENTRY(EventDestroy),
    ENTRY(ThreadExchangeStreamCaptureMode),
};

int cuGetProcAddress_v2(const char* name, void** out, int version, uint64_t flags, int* found) {
    (void)version, (void)flags;
    *out = NULL;
    if (!strcmp(name, "cuGetProcAddress")) *out = (void*)cuGetProcAddress_v2;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (!strcmp(name, entries[i].name)) *out = entries[i].function;
    if (found) *found = *out ? 0 : 1;  // CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
    return *out ? OK : NOT_FOUND;
}
