// The Actor after its two networks: lips, performance and manner to one Motion. The definition is reference.py, the
// model engine/motion/actor.py and blend.py.
//   act   grid (1, 1, rows), 128: one thread a channel of the Motion
// NaN goes through comparisons as it does in Python and NumPy (a maximum keeps its first argument), and is read as zero
// where the engine does so.

#include "motion.cuh"
#include "rows.cuh"

#define THREADS 128
#define LARGEST 3.4028234663852886e38f

extern "C" {

// What the engine has decided for everybody. Flags are 1 or 0.
struct Rules {
    float mouth[ACTIONS], said[ACTIONS];  // flags: part of the mouth; of the mouth, what only the voice may move
    float lost[ACTIONS];                  // of an expression, what speaking takes away
    float gap[ACTIONS];                   // millimetres between the lips that an action opens
    float arms[JOINTS];                   // flags: joints that `gesture` scales
    float low[MOTION], high[MOTION];
    float eyes[2];                        // most yaw and pitch, radians
    float rest_gap, pressed, small, yielding, wander;
    int jaw, close, spine, neck;          // actions; joints
};

// What the host knows of a session in this frame.
struct Manners {
    float voice, level, hush, gesture, head, held;
    float follow[3], aim[2];  // pitch, yaw, roll of the head toward its aim; yaw, pitch of the gaze's aim
    float share[ACTIONS], weight[ACTIONS];  // read where by_hand is set
    int by_hand;
    int outside;  // 0: the performer acts; 1: `motion` moves all but the lips; 2: its lips are its own too
    int place;    // of the frame in `made`
    float motion[MOTION];  // read where outside is set
};

// face (H, 52), contact (H, 2) or null: the lip network's heads; made (2, 96): the performer's
// -> motion (104,), told (104,) the same again unless null, changed (1,): values that were out of range or NaN
struct Act {
    const Rules* rules;
    const Manners* manners;
    const float* face;
    const float* contact;
    const float* made;
    float* motion;
    float* told;
    int* changed;
    int lookahead;  // which head
};

__device__ __forceinline__ float most(float a, float b) { return b > a ? b : a; }
__device__ __forceinline__ float least(float a, float b) { return b < a ? b : a; }
__device__ __forceinline__ float number(float x) { return x == x ? fminf(fmaxf(x, -LARGEST), LARGEST) : 0.f; }

// The sum over the block of what each thread has; `room`: one float a warp. Every thread calls it.
__device__ __forceinline__ float total(float x, float* room) {
    for (int k = 16; k; k /= 2) x += __shfl_xor_sync(~0u, x, k);
    __syncthreads();
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = x;
    __syncthreads();
    return (room[0] + room[1]) + (room[2] + room[3]);
}

// The mouthClose in [0, 1] that shuts a mouth whose actions open `gap` millimetres, whatever mouthClose it has.
__device__ __forceinline__ float need(const Rules& rules, float gap, float close) {
    const float full = -rules.gap[rules.close];
    return least(most((gap + rules.rest_gap + close * full + rules.pressed) / full, 0.f), 1.f);
}

__global__ void __launch_bounds__(THREADS) act(Rows<Act> rows) {
    __shared__ float room[THREADS / 32], shown[2];  // mouthClose of lips and of the face
    if (rows.off()) return;
    const Act& r = rows.own();
    const Rules& rules = *r.rules;
    const Manners& m = *r.manners;
    const int t = threadIdx.x;
    const bool own = m.outside == 2, of_face = t < ACTIONS;
    const bool mouth = of_face && rules.mouth[t] != 0.f, spoken = r.contact && !own;
    const float* row = r.made + PERFORMANCE * m.place;

    float lips = 0.f, expression = 0.f;
    if (of_face) {
        lips = own ? m.motion[t] : r.face[ACTIONS * r.lookahead + t];
        if (!own && m.voice < 1.f && mouth) lips *= m.voice;  // what sounds but is no voice does not open the mouth
        lips = number(lips);
        if (m.outside == 0) expression = number(row[t]);
        if (m.outside == 1 && rules.said[t] == 0.f) expression = number(m.motion[t]);
        if (t == rules.close) shown[0] = lips;
    }
    const float lips_gap = total(of_face ? lips * rules.gap[t] : 0.f, room);
    float closure, labiodental = 0.f;
    if (spoken) {
        closure = r.contact[2 * r.lookahead];
        labiodental = r.contact[2 * r.lookahead + 1];
    } else {
        const float wanted = need(rules, lips_gap, shown[0]);
        closure = wanted < rules.small ? 0.f : least(shown[0] / wanted, 1.f);
    }

    float face = 0.f;
    if (of_face) {
        float keep = 1.f - rules.lost[t] * m.level;
        if (mouth && t != rules.jaw) keep *= 1.f - rules.yielding * most(closure, labiodental) * m.level;
        if (m.hush > 0.f && mouth) {
            keep *= 1.f - m.hush;
            lips *= 1.f - m.hush;
        }
        face = least(most(keep * expression + lips, 0.f), 1.f);
        if (m.by_hand) face += m.share[t] * (m.weight[t] - face);
        if (t == rules.close) shown[1] = face;
    }
    const float gap = total(of_face ? face * rules.gap[t] : 0.f, room);
    if (t == rules.close && (!m.by_hand || m.share[t] == 0.f)) {
        const float free = m.by_hand ? 1.f - most(m.share[rules.jaw], m.share[t]) : 1.f;
        // An interruption first lowers what is open, then presses what is left together.
        const float closed = most(most(closure * (1.f - m.hush), 2.f * m.hush - 1.f), 0.f) * free;
        face = need(rules, gap, shown[1]) * closed;
    }

    float value = face;
    if (!of_face && t < MOTION) {
        if (m.outside) {
            value = m.motion[t];
        } else if (t >= JOINTS_AT) {
            const int joint = (t - JOINTS_AT) / 3;
            value = number(row[ROW_JOINTS_AT + t - JOINTS_AT]) * (rules.arms[joint] != 0.f ? m.gesture : 1.f);
        } else if (t >= HEAD_AT) {
            const int i = t - HEAD_AT;
            const float pitch = m.follow[0], yaw = m.follow[1], roll = m.follow[2];
            // The skull turns about the neck: a little sideways and forward travel comes with the rotation.
            const float turned = i < 3 ? (i == 0 ? pitch : i == 1 ? yaw : roll) : i == 3 ? 0.03f * yaw : i == 5 ? 0.02f * pitch : 0.f;
            value = number(row[ROW_HEAD_AT + i]) * m.head + turned;
        } else if (t >= GAZE_AT) {  // the eyes hold their target while head and trunk move under them
            const int i = t - GAZE_AT, axis = 1 - i;
            const float* joints = row + ROW_JOINTS_AT + axis;
            const float trunk = number(joints[3 * rules.spine]) + number(joints[3 * rules.neck]);
            const float head = number(row[ROW_HEAD_AT + axis]) * m.head + m.follow[axis];
            const float free = 1.f - (1.f - rules.wander) * m.held;
            const float eye = m.aim[i] + free * number(row[ROW_GAZE_AT + i]) + (i ? head + trunk : -head - trunk);
            value = least(most(eye, -rules.eyes[i]), rules.eyes[i]);
        } else {
            value = 0.f;  // the lip residual
        }
    }
    bool odd = false;
    if (t < MOTION) {
        const float clipped = fminf(fmaxf(number(value), rules.low[t]), rules.high[t]);
        odd = !(value == clipped);
        r.motion[t] = clipped;
        if (r.told) r.told[t] = clipped;
    }
    const float count = total(odd ? 1.f : 0.f, room);
    if (t == 0) *r.changed = (int)count;
}

}  // extern "C"
