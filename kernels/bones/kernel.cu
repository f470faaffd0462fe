// A Motion to posed bones and to the weights of a body's shapes. The definition is reference.py; the arithmetic is that
// of engine/body/body.py, helpers.py and kernels/skin/cpu.py, in double as there: it is little work.
//   bones   grid (1, 1, rows), 64: one thread a bone

#include "motion.cuh"
#include "rows.cuh"

#define MOST 64  // bones
#define NECK 1
#define HEAD 2
#define EYE 3
#define PI 3.14159265358979323846

extern "C" {

// One bone of a body. -1 where there is none. kernels/bones/__init__.py makes them.
struct Bone {
    double pivot[3];  // metres
    double hand[9];   // axis-angle per unit of curl, spread, thumb
    double axis[3];   // of a helper: unit, along the limb
    double share;     // of a helper: of the swing or twist of `driver`
    int parent, level, joint, finger, driver, twists, role;
};

// motion (104,), in every channel's range -> weights (60,), bones (N, 3, 4) rest to posed
struct Bones {
    const float* motion;
    const Bone* skeleton;  // (N,)
    float* weights;
    float* bones;
    int N, levels;
};

// The rotation by (x, y, z) radians, Rodrigues' formula.
__device__ __forceinline__ void rotation(double x, double y, double z, double* m) {
    const double angle = sqrt(x * x + y * y + z * z);
    const double s = angle > 1e-9 ? sin(angle) / angle : 1.0;
    const double c = angle > 1e-9 ? (1.0 - cos(angle)) / (angle * angle) : 0.5;
    m[0] = 1.0 - c * (y * y + z * z), m[1] = c * x * y - s * z, m[2] = c * x * z + s * y;
    m[3] = c * x * y + s * z, m[4] = 1.0 - c * (x * x + z * z), m[5] = c * y * z - s * x;
    m[6] = c * x * z - s * y, m[7] = c * y * z + s * x, m[8] = 1.0 - c * (x * x + y * y);
}

// Twist of `turn` about the unit `axis`, or the swing after it, as axis-angle (engine/body/helpers.py).
__device__ void part(const double* turn, const double* axis, bool twists, double* out) {
    double x = turn[0], y = turn[1], z = turn[2];
    const double i = axis[0], j = axis[1], k = axis[2], angle = sqrt(x * x + y * y + z * z);
    out[0] = out[1] = out[2] = 0.0;
    if (angle < 1e-9) return;
    const double s = sin(0.5 * angle) / angle, w = cos(0.5 * angle);
    x *= s, y *= s, z *= s;
    double twist = 2.0 * atan2(x * i + y * j + z * k, w);
    if (twist > PI) twist -= 2.0 * PI;
    else if (twist < -PI) twist += 2.0 * PI;
    if (twists) {
        out[0] = i * twist, out[1] = j * twist, out[2] = k * twist;
        return;
    }
    // swing = turn * conjugate(twist)
    const double c = cos(0.5 * twist), t = sin(0.5 * twist), a = i * t, b = j * t, d = k * t;
    const double sw = w * c + x * a + y * b + z * d;
    const double sx = x * c - w * a - (y * d - z * b);
    const double sy = y * c - w * b - (z * a - x * d);
    const double sz = z * c - w * d - (x * b - y * a);
    const double size = sqrt(sx * sx + sy * sy + sz * sz);
    if (size < 1e-9) return;
    const double full = 2.0 * atan2(size, fabs(sw)) / size * (sw < 0.0 ? -1.0 : 1.0);
    out[0] = sx * full, out[1] = sy * full, out[2] = sz * full;
}

// neck_share: of the head's turn and travel, what the neck carries. Action lid[i] of `lids` follows the gaze:
// at least lid_gain[2 i] times its yaw plus lid_gain[2 i + 1] times its pitch, up to 1.
__global__ void __launch_bounds__(MOST) bones(Rows<Bones> rows, float neck_share, const int* __restrict__ lid,
                                              const float* __restrict__ lid_gain, int lids) {
    __shared__ double local[MOST][3];
    __shared__ float posed[MOST][12];
    if (rows.off()) return;
    const Bones& r = rows.own();
    const float* __restrict__ motion = r.motion;
    const float yaw = motion[GAZE_AT], pitch = motion[GAZE_AT + 1];
    const int n = threadIdx.x;
    for (int a = n; a < ACTIONS + RESIDUAL; a += MOST) {
        float w = motion[a];
        for (int i = 0; i < lids; ++i)
            if (lid[i] == a) w = fmaxf(w, fminf(lid_gain[2 * i] * yaw + lid_gain[2 * i + 1] * pitch, 1.f));
        r.weights[a] = w;
    }

    const bool here = n < r.N;
    const Bone& bone = r.skeleton[here ? n : 0];
    const double share = neck_share, rest = 1.0 - share;
    double turn[3] = {0.0, 0.0, 0.0}, travel[3] = {0.0, 0.0, 0.0};
    if (bone.joint >= 0)
        for (int i = 0; i < 3; ++i) turn[i] = motion[JOINTS_AT + 3 * bone.joint + i];
    if (bone.finger >= 0) {
        const float* bend = motion + JOINTS_AT + 3 * bone.finger;
        for (int i = 0; i < 3; ++i)
            turn[i] = bend[0] * bone.hand[i] + bend[1] * bone.hand[3 + i] + bend[2] * bone.hand[6 + i];
    }
    if (bone.role == HEAD)
        for (int i = 0; i < 3; ++i) turn[i] = rest * motion[HEAD_AT + i], travel[i] = rest * motion[HEAD_AT + 3 + i];
    if (bone.role == NECK)
        for (int i = 0; i < 3; ++i) travel[i] = share * motion[HEAD_AT + 3 + i];
    if (bone.role == EYE) turn[0] = -pitch, turn[1] = yaw, turn[2] = 0.0;
    for (int i = 0; i < 3; ++i) local[n][i] = turn[i];
    __syncthreads();
    if (bone.driver >= 0) {
        part(local[bone.driver], bone.axis, bone.twists != 0, turn);
        for (int i = 0; i < 3; ++i) turn[i] *= bone.share;
    }

    double m[9], at[3];
    rotation(turn[0], turn[1], turn[2], m);
    if (bone.role == NECK) {
        double extra[9];
        rotation(share * motion[HEAD_AT], share * motion[HEAD_AT + 1], share * motion[HEAD_AT + 2], extra);
        for (int i = 0; i < 9; i += 3) {
            const double x = m[i], y = m[i + 1], z = m[i + 2];
            for (int j = 0; j < 3; ++j) m[i + j] = x * extra[j] + y * extra[3 + j] + z * extra[6 + j];
        }
    }
    for (int i = 0; i < 3; ++i)
        at[i] = bone.pivot[i] + travel[i]
              - (m[3 * i] * bone.pivot[0] + m[3 * i + 1] * bone.pivot[1] + m[3 * i + 2] * bone.pivot[2]);
    for (int level = 0; level < r.levels; ++level) {
        if (here && bone.level == level) {
            for (int i = 0; i < 3; ++i) {
                double x = i == 0, y = i == 1, z = i == 2, from = 0.0;
                if (bone.parent >= 0) {
                    const float* p = posed[bone.parent] + 4 * i;
                    x = p[0], y = p[1], z = p[2], from = p[3];
                }
                for (int j = 0; j < 3; ++j) posed[n][4 * i + j] = (float)(x * m[j] + y * m[3 + j] + z * m[6 + j]);
                posed[n][4 * i + 3] = (float)(x * at[0] + y * at[1] + z * at[2] + from);
            }
        }
        __syncthreads();
    }
    for (int i = n; i < 12 * r.N; i += MOST) r.bones[i] = posed[i / 12][i % 12];
}

}  // extern "C"
