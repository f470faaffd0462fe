// A table of arguments: one record a picture, told apart by blockIdx.z, so that one launch serves many sessions.
// Rows from *live on are padding of the batch and are left alone.

template <typename T>
struct Rows {
    const char* base;
    const int* live;
    int stride;  // bytes

    __device__ __forceinline__ bool off() const { return (int)blockIdx.z >= *live; }
    __device__ __forceinline__ const T& own() const {
        return *reinterpret_cast<const T*>(base + (long long)stride * blockIdx.z);
    }
};
