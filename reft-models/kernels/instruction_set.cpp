#include "instruction_set.h"

#define DECLARE(SET)                  \
    namespace reft::SET {             \
    const Kernels<float>& f32();      \
    const Kernels<reft::bf16>& b16(); \
    const Products& products();       \
    }
DECLARE(generic)
#ifdef __x86_64__
DECLARE(avx2)
DECLARE(avx512)
#endif

namespace reft {

bool is_available(InstructionSet set) {
    switch (set) {
        case InstructionSet::generic:
            return true;
#ifdef __x86_64__
        case InstructionSet::avx2:
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        case InstructionSet::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("fma");
#endif
        default:
            return false;
    }
}

#ifdef __x86_64__
#define OF(type)                                                             \
    set == InstructionSet::avx512 ? avx512::type()                           \
                                  : set == InstructionSet::avx2 ? avx2::type() : generic::type()
#else
#define OF(type) (void(set), generic::type())
#endif

template <>
const Kernels<float>& kernels_of<float>(InstructionSet set) {
    return OF(f32);
}

template <>
const Kernels<bf16>& kernels_of<bf16>(InstructionSet set) {
    return OF(b16);
}

const Products& products_of(InstructionSet set) { return OF(products); }

}  // namespace reft

extern "C" bool reft_has_instruction_set(int32_t set) { return reft::is_available(reft::InstructionSet(set)); }
