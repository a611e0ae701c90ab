/* Includes the header VARIANTS for each kind of processor; see processor.h. */

#if HAS_LEVELS

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#endif
#define KIND v4
#define VECTOR_BYTES 64
#define REGISTERS 32
#include VARIANTS
#undef KIND
#undef VECTOR_BYTES
#undef REGISTERS
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#endif
#define KIND v3
#define VECTOR_BYTES 32
#define REGISTERS 16
#include VARIANTS
#undef KIND
#undef VECTOR_BYTES
#undef REGISTERS
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

#define KIND plain
#define VECTOR_BYTES 16
#define REGISTERS PLAIN_REGISTERS
#include VARIANTS
#undef KIND
#undef VECTOR_BYTES
#undef REGISTERS
