# CudaHost.cmake - the plugin for CUDA without CUDA: src/backend/cuda over tests/cuda_host, in
# tests/cuda_host of the build, with what it takes for a driver. Tests load it from there, so every
# machine can run the plugin's kernels, if slowly.
set(KILN_BUILD_CUDA_HOST OFF)
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$" OR KILN_SANITIZE MATCHES "thread" OR KILN_FUZZ)
    return()
endif()
include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
    message(STATUS "There is no C++ compiler: the plugin for CUDA is not tested without a device")
    return()
endif()
enable_language(CXX)
set(KILN_BUILD_CUDA_HOST ON)
set(KILN_CUDA_HOST ${CMAKE_BINARY_DIR}/tests/cuda_host)

# The compiler goes by a file's name: each .cu is read in by a .cpp.
file(GLOB KILN_CUDA_HOST_KERNELS CONFIGURE_DEPENDS src/backend/cuda/*.cu)
file(GLOB KILN_CUDA_HOST_SOURCES CONFIGURE_DEPENDS tests/cuda_host/*.cpp)
list(FILTER KILN_CUDA_HOST_KERNELS EXCLUDE REGEX "/cudnn\\.cu$")
foreach(kernel ${KILN_CUDA_HOST_KERNELS})
    cmake_path(GET kernel STEM name)
    file(CONFIGURE OUTPUT ${KILN_CUDA_HOST}/${name}.cpp CONTENT "#include \"${kernel}\"\n")
    list(APPEND KILN_CUDA_HOST_SOURCES ${KILN_CUDA_HOST}/${name}.cpp)
endforeach()

add_library(kiln_cuda_host MODULE ${KILN_CUDA_HOST_SOURCES})
target_include_directories(kiln_cuda_host PRIVATE tests/cuda_host include src)
target_compile_definitions(kiln_cuda_host PRIVATE _GNU_SOURCE)
target_compile_options(kiln_cuda_host PRIVATE
    -Wall -Wextra -Wno-unknown-pragmas -Wno-unused-function -ffp-contract=off
    $<$<BOOL:${KILN_WERROR}>:-Werror>)
set_target_properties(kiln_cuda_host PROPERTIES
    OUTPUT_NAME kiln_cuda
    CXX_STANDARD 17
    CXX_STANDARD_REQUIRED ON
    CXX_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${KILN_CUDA_HOST})
if(KILN_SANITIZE)
    target_compile_options(kiln_cuda_host PRIVATE
        -fsanitize=${KILN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(kiln_cuda_host PRIVATE -fsanitize=${KILN_SANITIZE})
endif()

# libkiln asks for the driver before it loads the plugin.
file(CONFIGURE OUTPUT ${KILN_CUDA_HOST}/driver.c CONTENT "typedef int nothing;\n")
add_library(kiln_cuda_host_driver SHARED ${KILN_CUDA_HOST}/driver.c)
set_target_properties(kiln_cuda_host_driver PROPERTIES
    OUTPUT_NAME cuda SOVERSION 1 LIBRARY_OUTPUT_DIRECTORY ${KILN_CUDA_HOST})
add_dependencies(kiln_cuda_host kiln_cuda_host_driver)

# Names of those that ctest runs on it: they train, or go through the table of functions.
set(KILN_CUDA_HOST_TESTS
    activations backward_hooks callbacks cli_device contexts cross_entropy fine_tune fit freeze
    grad_cam hooks init learner lr_find mix op_errors ops ops_large optim optim_kernels
    optimizers pack resident runs stopping step_callbacks tensor tta writes)
if(KILN_LONG_TESTS)
    list(APPEND KILN_CUDA_HOST_TESTS checkpoint models nn parity)
endif()
set(KILN_CUDA_HOST_OPS ops ops_large)
if(KILN_SANITIZE) # it is slow there: those that reach each kernel
    set(KILN_CUDA_HOST_TESTS cross_entropy grad_cam op_errors optim_kernels resident runs writes)
    set(KILN_CUDA_HOST_OPS ops)
endif()
set(KILN_CUDA_HOST_ENVIRONMENT
    "KILN_PLUGINS=${KILN_CUDA_HOST}"
    "LD_LIBRARY_PATH=${KILN_CUDA_HOST}"
    "KILN_TEST_DEVICE=cuda")
if(KILN_LONG_TESTS) # twice the time; one training is always watched
    list(APPEND KILN_CUDA_HOST_ENVIRONMENT "KILN_CUDA_HOST_WATCH=1")
endif()

# kiln_cuda_host_test(NAME AS VARIABLE...) - tests/test_NAME.c on it, as cuda_host.AS, with these in its
# environment.
function(kiln_cuda_host_test name as)
    add_test(NAME cuda_host.${as} COMMAND $<TARGET_FILE:test_${name}>
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    kiln_register(cuda_host.${as} "unit;cuda_host")
    set_property(TEST cuda_host.${as} APPEND PROPERTY ENVIRONMENT ${KILN_CUDA_HOST_ENVIRONMENT} ${ARGN})
endfunction()

# Of the convolutions those that tests/cuda_host/cudnn.cpp makes, and the plain kernels; and threads
# and blocks in other orders: the same bits, or there is a race.
function(kiln_cuda_host_tests)
    add_executable(test_cuda_host tests/cuda_host/test_cuda_host.c)
    set_target_properties(test_cuda_host PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${KILN_CUDA_HOST})
    target_include_directories(test_cuda_host PRIVATE src tests)
    target_link_libraries(test_cuda_host PRIVATE
        kiln_static kiln_flags kiln_deps PkgConfig::CMOCKA kiln_test_support)
    add_dependencies(test_cuda_host kiln_cli kiln_cuda_host)
    if(NOT KILN_SANITIZE) # forty trainings; AddressSanitizer found nothing in them in four minutes
        kiln_cuda_host_test(cuda_host device)
    endif()
    foreach(name ${KILN_CUDA_HOST_TESTS})
        kiln_cuda_host_test(${name} ${name})
    endforeach()
    foreach(name ${KILN_CUDA_HOST_OPS})
        kiln_cuda_host_test(${name} ${name}.plain "KILN_CUDA_CONV=plain")
        kiln_cuda_host_test(${name} ${name}.backward "KILN_CUDA_HOST_ORDER=backward" "KILN_CUDA_CONV=plain")
        kiln_cuda_host_test(${name} ${name}.shuffled "KILN_CUDA_HOST_ORDER=1" "KILN_CUDA_CONV=plain")
    endforeach()
endfunction()
