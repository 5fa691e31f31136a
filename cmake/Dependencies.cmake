# Dependencies.cmake - finds what the project links: target kiln_deps, and the two lines that
# kiln.pc and the CMake package repeat for whoever links the static library.
find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

set(KILN_PC_REQUIRES libjpeg libpng jansson libcrypto)
pkg_check_modules(KILN_PC REQUIRED IMPORTED_TARGET ${KILN_PC_REQUIRES})

add_library(kiln_deps INTERFACE)
target_link_libraries(kiln_deps INTERFACE PkgConfig::KILN_PC Threads::Threads m ${CMAKE_DL_LIBS})
set(KILN_LINK_ALSO m) # what has no pkg-config file

# For kiln doctor.
set(KILN_BUILT_WITH "")
foreach(module ${KILN_PC_REQUIRES})
    list(APPEND KILN_BUILT_WITH "${module} ${KILN_PC_${module}_VERSION}")
endforeach()
list(JOIN KILN_BUILT_WITH ", " KILN_BUILT_WITH)

if(KILN_OPENMP)
    find_package(OpenMP REQUIRED COMPONENTS C)
    target_compile_options(kiln_deps INTERFACE ${OpenMP_C_FLAGS})
    target_link_options(kiln_deps INTERFACE ${OpenMP_C_FLAGS})
else()
    # The pragmas stay in the source, and mean nothing.
    target_compile_options(kiln_deps INTERFACE -Wno-unknown-pragmas)
    set(OpenMP_C_FLAGS "")
endif()

# Debian 12's oneDNN brings no pkg-config file, so look for its header and library. The backend is
# written for the 2.x interface; 3.x renamed and removed parts of it.
set(KILN_HAVE_ONEDNN OFF)
if(NOT KILN_ONEDNN STREQUAL "OFF")
    find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl_version.h)
    find_library(DNNL_LIBRARY dnnl)
    if(DNNL_INCLUDE_DIR)
        file(STRINGS ${DNNL_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h DNNL_MAJOR
             REGEX "^#define DNNL_VERSION_MAJOR +[0-9]+")
        string(REGEX MATCH "[0-9]+" DNNL_MAJOR "${DNNL_MAJOR}")
    endif()
    if(DNNL_INCLUDE_DIR AND DNNL_LIBRARY AND DNNL_MAJOR EQUAL 2)
        set(KILN_HAVE_ONEDNN ON)
        target_compile_definitions(kiln_deps INTERFACE KN_HAVE_ONEDNN=1)
        target_include_directories(kiln_deps SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
        target_link_libraries(kiln_deps INTERFACE ${DNNL_LIBRARY})
        list(APPEND KILN_LINK_ALSO dnnl)
    elseif(KILN_ONEDNN STREQUAL "ON")
        message(FATAL_ERROR "KILN_ONEDNN=ON, but oneDNN 2.x was not found (Debian: libdnnl-dev)")
    else()
        message(STATUS "oneDNN 2.x was not found: only the slow reference backend is built")
    endif()
endif()

# Only kiln-download links these; the command starts it when it needs a data set.
set(KILN_BUILD_DOWNLOAD OFF)
if(NOT KILN_DOWNLOAD STREQUAL "OFF")
    pkg_check_modules(KILN_CURL IMPORTED_TARGET libcurl>=7.68)
    pkg_check_modules(KILN_ARCHIVE IMPORTED_TARGET libarchive>=3.4)
    if(KILN_CURL_FOUND AND KILN_ARCHIVE_FOUND)
        set(KILN_BUILD_DOWNLOAD ON)
    elseif(KILN_DOWNLOAD STREQUAL "ON")
        message(FATAL_ERROR "KILN_DOWNLOAD=ON, but libcurl or libarchive was not found "
                            "(Debian: libcurl4-openssl-dev, libarchive-dev)")
    else()
        message(STATUS "libcurl or libarchive was not found: kiln-download is not built, and data "
                       "sets cannot be fetched (Debian: libcurl4-openssl-dev, libarchive-dev)")
    endif()
endif()

set(KILN_BUILD_TESTS OFF)
if(NOT KILN_TESTS STREQUAL "OFF")
    pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
    if(CMOCKA_FOUND)
        set(KILN_BUILD_TESTS ON)
    elseif(KILN_TESTS STREQUAL "ON")
        message(FATAL_ERROR "KILN_TESTS=ON, but cmocka was not found (Debian: libcmocka-dev)")
    else()
        message(STATUS "cmocka was not found: tests, examples and benchmarks are not built")
    endif()
endif()
