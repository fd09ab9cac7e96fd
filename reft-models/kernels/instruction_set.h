// Which build of the kernels runs: chosen by Rust, once, and handed over with every call.
#pragma once

#include "kernels.h"

namespace reft {

// The numbers are those of `InstructionSet` in Rust.
enum class InstructionSet : int32_t { generic = 0, avx2 = 1, avx512 = 2 };

// Whether this program has kernels for it and this processor runs them.
bool is_available(InstructionSet set);

// The kernels of an available set.
template <class T>
const Kernels<T>& kernels_of(InstructionSet set);

// Its products with packed weights.
const Products& products_of(InstructionSet set);

}  // namespace reft
