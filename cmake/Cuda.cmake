# Cuda.cmake - libkiln_cuda.so, the backend for NVIDIA's devices. The library loads it at run time, so
# nothing else links CUDA, and nothing of the library is linked into it.
set(KILN_BUILD_CUDA OFF)
if(KILN_CUDA STREQUAL "OFF")
    return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
        set(CMAKE_CUDA_ARCHITECTURES "80;90" CACHE STRING "Compute capabilities of the CUDA plugin")
    endif()
    enable_language(CUDA)
    find_package(CUDAToolkit)
    find_path(CUDNN_INCLUDE_DIR cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
    find_library(CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
endif()
if(CMAKE_CUDA_COMPILER AND CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY AND TARGET CUDA::cublasLt)
    set(KILN_BUILD_CUDA ON)
elseif(KILN_CUDA STREQUAL "ON")
    message(FATAL_ERROR "KILN_CUDA=ON, but nvcc, cuBLASLt or cuDNN 9 was not found")
else()
    message(STATUS "nvcc, cuBLASLt or cuDNN 9 was not found: the plugin for CUDA is not built")
    return()
endif()

file(GLOB KILN_CUDA_SOURCES CONFIGURE_DEPENDS src/backend/cuda/*.cu)
add_library(kiln_cuda MODULE ${KILN_CUDA_SOURCES})
target_include_directories(kiln_cuda PRIVATE include src)
target_include_directories(kiln_cuda SYSTEM PRIVATE ${CUDNN_INCLUDE_DIR})
set_target_properties(kiln_cuda PROPERTIES
    CUDA_STANDARD 17
    CUDA_STANDARD_REQUIRED ON
    CUDA_RUNTIME_LIBRARY Static
    CUDA_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_compile_definitions(kiln_cuda PRIVATE _GNU_SOURCE)
target_compile_options(kiln_cuda PRIVATE
    -Xcompiler=-Wall,-Wextra,-Wshadow,-Wconversion
    $<$<BOOL:${KILN_WERROR}>:-Werror=all-warnings -Xcompiler=-Werror>)
target_link_options(kiln_cuda PRIVATE LINKER:--exclude-libs,ALL)
target_link_libraries(kiln_cuda PRIVATE ${CUDNN_LIBRARY} CUDA::cublasLt)
