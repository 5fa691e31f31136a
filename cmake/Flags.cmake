# Flags.cmake - what every source file of the project is compiled with: target kiln_flags.
#
# No -march=native (one binary serves every machine; kernels are chosen at run time) and no
# -ffast-math (NaN must stay NaN).
add_library(kiln_flags INTERFACE)
target_compile_definitions(kiln_flags INTERFACE _GNU_SOURCE)
target_compile_options(kiln_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
    -ffp-contract=off        # the same bits from gcc and clang, with and without FMA
    -fno-math-errno          # errno is never read after a math function: sqrtf can be one instruction
    -fno-trapping-math)      # floating-point traps are never enabled: comparisons can be vectorised

if(KILN_WERROR)
    target_compile_options(kiln_flags INTERFACE -Werror)
endif()

# KN_DEBUG adds the checks that cost time, such as the trap on a tensor used after its step.
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_definitions(kiln_flags INTERFACE KN_DEBUG=1)
endif()

if(KILN_SANITIZE)
    target_compile_options(kiln_flags INTERFACE
        -fsanitize=${KILN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(kiln_flags INTERFACE -fsanitize=${KILN_SANITIZE})
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        # With the sanitizers' checks in between, gcc 12 takes two members of a struct for one.
        target_compile_options(kiln_flags INTERFACE -Wno-restrict)
    endif()
endif()

if(KILN_FUZZ)
    target_compile_options(kiln_flags INTERFACE -fsanitize=fuzzer-no-link)
    target_link_options(kiln_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(KILN_COVERAGE)
    target_compile_options(kiln_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(kiln_flags INTERFACE --coverage)
endif()
