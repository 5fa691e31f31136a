# Tests.cmake - tests, examples and benchmarks.
#
# tests/test_NAME.c is one executable and one ctest of that name. examples/NAME.c is a program that
# must exit 0 and print what its .expected files say: cmake/RunExample.cmake. bench/*.c are built, so
# that they stay correct, but not run. Labels: unit, example, release (only worth running on a
# release build), threads for the tests that ThreadSanitizer runs each time, and command for those that
# run the command. KILN_TEST_LAUNCHER is put before each test: valgrind and its options, say.
file(GLOB KILN_TESTS_FOUND CONFIGURE_DEPENDS tests/test_*.c)
file(GLOB KILN_TEST_SUPPORT CONFIGURE_DEPENDS tests/support/*.c)
file(GLOB KILN_EXAMPLES CONFIGURE_DEPENDS examples/*.c)
file(GLOB KILN_EXPECTED CONFIGURE_DEPENDS examples/*.expected)
file(GLOB KILN_BENCHES CONFIGURE_DEPENDS bench/*.c)

# Tests keep out of the user's cache. Idle OpenMP threads must sleep, not spin: ctest runs several
# tests at once on the same cores.
set(KILN_TEST_ENVIRONMENT
    "KILN_HOME=${CMAKE_BINARY_DIR}/kiln-home"
    "KILN_BIN=${CMAKE_BINARY_DIR}/kiln"
    "KILN_DATASETS="
    "OMP_WAIT_POLICY=PASSIVE"
    "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")

function(kiln_register name labels)
    set_tests_properties(${name} PROPERTIES
        LABELS "${labels}"
        TIMEOUT ${KILN_TEST_TIMEOUT}
        ENVIRONMENT "${KILN_TEST_ENVIRONMENT}")
endfunction()

# Built alone by the tsan preset: cmake --build --preset tsan --target thread_tests
add_custom_target(thread_tests)

if(KILN_TEST_SUPPORT)
    add_library(kiln_test_support OBJECT ${KILN_TEST_SUPPORT})
    target_include_directories(kiln_test_support PUBLIC src tests)
    target_compile_definitions(kiln_test_support PRIVATE KN_TEST_DIR="${PROJECT_SOURCE_DIR}/tests")
    if(KILN_TEST_LAUNCHER MATCHES "valgrind")
        target_sources(kiln_test_support PRIVATE tests/valgrind/defined.c)
    endif()
    target_link_libraries(kiln_test_support PUBLIC kiln_static kiln_flags kiln_deps PkgConfig::CMOCKA)
endif()

# A server and archives, for the tests of kiln-download.
if(KILN_BUILD_DOWNLOAD)
    file(GLOB KILN_DOWNLOAD_SUPPORT CONFIGURE_DEPENDS tests/support/download/*.c)
    pkg_check_modules(KILN_SSL REQUIRED IMPORTED_TARGET libssl)
    add_library(kiln_download_support OBJECT ${KILN_DOWNLOAD_SUPPORT})
    target_link_libraries(kiln_download_support PUBLIC
        kiln_test_support PkgConfig::KILN_ARCHIVE PkgConfig::KILN_SSL)
else()
    list(FILTER KILN_TESTS_FOUND EXCLUDE REGEX "/tests/test_download[^/]*\\.c$")
endif()

# Preloaded into the command, to make its calls fail. A sanitizer has calls of its own in their place.
if(KILN_SANITIZE)
    list(FILTER KILN_TESTS_FOUND EXCLUDE REGEX "/tests/test_cli_faults\\.c$")
else()
    file(GLOB KILN_SHIM CONFIGURE_DEPENDS tests/shim/*.c)
    add_library(fail_calls SHARED ${KILN_SHIM})
    set_target_properties(fail_calls PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(fail_calls PRIVATE kiln_flags ${CMAKE_DL_LIBS})
    target_compile_options(fail_calls PRIVATE -fvisibility=default)
endif()

include(cmake/CudaHost.cmake)

# What replaces malloc finds valgrind's in its place; and whole networks on plain loops, or a chart of
# 1000 x 1000 classes, take it many minutes each and go through little that other tests do not.
if(KILN_TEST_LAUNCHER)
    list(FILTER KILN_TESTS_FOUND EXCLUDE REGEX
        "/test_(cli_faults|no_malloc|chart_matrix|models|nn|parity|own_conv|own_conv_weights|ops_large)\\.c$")
endif()

foreach(source ${KILN_TESTS_FOUND})
    cmake_path(GET source STEM target)
    string(REPLACE "test_" "" name ${target})
    add_executable(${target} ${source})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_include_directories(${target} PRIVATE src tests)
    target_compile_definitions(${target} PRIVATE KN_TEST_DIR="${PROJECT_SOURCE_DIR}/tests")
    target_link_libraries(${target} PRIVATE kiln_static kiln_flags kiln_deps PkgConfig::CMOCKA)
    if(KILN_TEST_SUPPORT)
        target_link_libraries(${target} PRIVATE kiln_test_support)
    endif()
    add_dependencies(${target} kiln_cli) # tests of the command run build/kiln
    if(name STREQUAL "cli_faults")
        add_dependencies(${target} fail_calls)
    elseif(name MATCHES "^(args|heat_picture|shell_word)$")
        target_link_libraries(${target} PRIVATE kiln_cli_parts)
    elseif(name MATCHES "^download")
        target_link_libraries(${target} PRIVATE kiln_download_support)
    endif()
    add_test(NAME ${name} COMMAND ${KILN_TEST_LAUNCHER} $<TARGET_FILE:${target}>
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set(labels unit ${name})
    if(name MATCHES "^(cli|download)")
        list(APPEND labels command)
    endif()
    if(name MATCHES "loader|^cache|^contexts$")
        list(APPEND labels threads)
        add_dependencies(thread_tests ${target})
    endif()
    kiln_register(${name} "${labels}")
endforeach()

if(KILN_BUILD_CUDA_HOST AND NOT KILN_TEST_LAUNCHER)
    kiln_cuda_host_tests()
endif()

# Those that draw the shapes data share one folder: example.data empties it and draws first.
function(kiln_add_example test name data expected)
    set(fresh ON)
    set(folder ${test}.run)
    if(data STREQUAL "shapes")
        set(folder shapes.run)
        if(NOT name STREQUAL "data")
            set(fresh OFF)
        endif()
    endif()
    add_test(NAME ${test}
             COMMAND ${CMAKE_COMMAND} -D PROGRAM=$<TARGET_FILE:example_${name}> -D DATA=${data}
                     -D EXPECTED=${PROJECT_SOURCE_DIR}/examples/${expected}
                     -D FOLDER=${CMAKE_BINARY_DIR}/examples/${folder} -D FRESH=${fresh}
                     -D SOURCE_DIR=${PROJECT_SOURCE_DIR}
                     -P ${PROJECT_SOURCE_DIR}/cmake/RunExample.cmake)
    # Under the sanitizers the shapes suffice: it is the same code, and Imagenette takes long.
    if(data STREQUAL "imagenette")
        kiln_register(${test} "example;release")
    else()
        kiln_register(${test} "example")
    endif()
    set_tests_properties(${test} PROPERTIES SKIP_REGULAR_EXPRESSION "(^|\n)SKIPPED: ")
    if(test STREQUAL "example.data")
        set_tests_properties(${test} PROPERTIES FIXTURES_SETUP shapes)
    elseif(data STREQUAL "shapes")
        set_tests_properties(${test} PROPERTIES FIXTURES_REQUIRED shapes)
    endif()
endfunction()

# Examples link the shared library: they see what a user sees, exported functions only.
foreach(source ${KILN_EXAMPLES})
    cmake_path(GET source STEM name)
    add_executable(example_${name} ${source})
    set_target_properties(example_${name} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/examples)
    target_link_libraries(example_${name} PRIVATE kiln_shared kiln_flags m)
    if(EXISTS ${PROJECT_SOURCE_DIR}/examples/${name}.shapes.expected)
        kiln_add_example(example.${name} ${name} shapes ${name}.shapes.expected)
        kiln_add_example(example.${name}.imagenette ${name} imagenette ${name}.imagenette.expected)
    else()
        kiln_add_example(example.${name} ${name} none ${name}.expected)
    endif()
endforeach()

foreach(source ${KILN_BENCHES})
    cmake_path(GET source STEM name)
    add_executable(bench_${name} ${source})
    set_target_properties(bench_${name} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
    target_include_directories(bench_${name} PRIVATE src)
    target_link_libraries(bench_${name} PRIVATE kiln_static kiln_flags kiln_deps)
endforeach()

# Checks of the text of the project, of the built libraries, and of what is installed.
file(GLOB KILN_LINTS CONFIGURE_DEPENDS tests/lint/*.sh)
foreach(script ${KILN_LINTS} ${PROJECT_SOURCE_DIR}/tests/install/install.sh)
    if(EXISTS ${script})
        cmake_path(GET script STEM name)
        add_test(NAME lint.${name} COMMAND sh ${script} ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
        kiln_register(lint.${name} "lint;release")
        set_tests_properties(lint.${name} PROPERTIES SKIP_RETURN_CODE 77)
    endif()
endforeach()
