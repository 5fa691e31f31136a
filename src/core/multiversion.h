/* multiversion.h - compiles a function for several instruction sets, of which the processor's best
 * is chosen when the program starts. For loops that the compiler vectorises; what is called from
 * there is compiled alike only when it is inlined. */
#ifndef KN_CORE_MULTIVERSION_H
#define KN_CORE_MULTIVERSION_H

/* The choice is made by resolvers that run before a sanitizer is ready. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KN_SANITIZED
#elif defined(__has_feature) /* as clang tells */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define KN_SANITIZED
#endif
#endif

#if !defined(__x86_64__) || !defined(__GNUC__) || defined(KN_SANITIZED)
#define KN_MULTIVERSION
#elif defined(__clang__) /* which knows no levels here */
#define KN_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define KN_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#endif

#endif
