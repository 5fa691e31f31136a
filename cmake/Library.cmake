# Library.cmake - libkiln.a, libkiln.so, the command and kiln-download.
#
# Sources are found by pattern: one idea a file means many files, and a list here would repeat the
# folder. CONFIGURE_DEPENDS makes each build look again, so a new file needs no edit and no rerun.
file(GLOB KILN_SOURCES CONFIGURE_DEPENDS src/*/*.c)
if(NOT KILN_HAVE_ONEDNN)
    list(FILTER KILN_SOURCES EXCLUDE REGEX "/src/backend/onednn[^/]*\\.c$")
endif()

# Compiled once, for both forms of the library.
add_library(kiln_objects OBJECT ${KILN_SOURCES})
file(RELATIVE_PATH KILN_LIB_FROM_BIN /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
set_source_files_properties(src/backend/plugin.c PROPERTIES
    COMPILE_DEFINITIONS KN_LIB_FROM_BIN="${KILN_LIB_FROM_BIN}")
target_include_directories(kiln_objects PUBLIC include PRIVATE src)
target_link_libraries(kiln_objects PRIVATE kiln_flags kiln_deps)

add_library(kiln_static STATIC $<TARGET_OBJECTS:kiln_objects>)
add_library(kiln_shared SHARED $<TARGET_OBJECTS:kiln_objects>)
add_library(kiln::kiln_static ALIAS kiln_static)
add_library(kiln::kiln ALIAS kiln_shared)

foreach(target kiln_static kiln_shared)
    set_target_properties(${target} PROPERTIES OUTPUT_NAME kiln LINKER_LANGUAGE C)
    target_include_directories(${target} PUBLIC
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:kiln_flags> $<BUILD_INTERFACE:kiln_deps>)
endforeach()

# Before 1.0 a minor version may change the interface, so it is part of the name.
set_target_properties(kiln_shared PROPERTIES
    EXPORT_NAME kiln
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)
target_link_options(kiln_shared PRIVATE
    LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map)

# What both programs are made of. Compiled once: clang-tidy 14 errs about a file that is compiled
# twice.
set(KILN_COMMON_SOURCES cli/datasets.c cli/home.c cli/json_line.c cli/report.c cli/suggest.c
    cli/want_json.c)
list(TRANSFORM KILN_COMMON_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/)
add_library(kiln_cli_common OBJECT ${KILN_COMMON_SOURCES})
target_include_directories(kiln_cli_common PUBLIC cli src)
target_link_libraries(kiln_cli_common PUBLIC kiln_static kiln_flags kiln_deps)

# The command holds the static library, so build/kiln can be copied alone. All of it but main is
# compiled apart, for the tests.
file(GLOB KILN_CLI_SOURCES CONFIGURE_DEPENDS cli/*.c)
list(REMOVE_ITEM KILN_CLI_SOURCES ${PROJECT_SOURCE_DIR}/cli/main.c ${KILN_COMMON_SOURCES})
add_library(kiln_cli_parts OBJECT ${KILN_CLI_SOURCES})
target_include_directories(kiln_cli_parts PUBLIC cli src)
target_compile_definitions(kiln_cli_parts PRIVATE KILN_BUILT_WITH="${KILN_BUILT_WITH}")
target_link_libraries(kiln_cli_parts PUBLIC kiln_static kiln_flags kiln_deps)
target_sources(kiln_cli_parts INTERFACE $<TARGET_OBJECTS:kiln_cli_common>)
add_executable(kiln_cli cli/main.c)
set_target_properties(kiln_cli PROPERTIES OUTPUT_NAME kiln)
target_link_libraries(kiln_cli PRIVATE kiln_cli_parts)

# kiln-download is a program of its own, so that the command links neither libcurl nor libarchive. Of
# the library it needs a few files, and --as-needed leaves out what the others link. It lies beside
# the command, which looks for it there; so whoever builds the one gets the other.
if(KILN_BUILD_DOWNLOAD)
    file(GLOB KILN_DOWNLOAD_SOURCES CONFIGURE_DEPENDS cli/download/*.c)
    add_executable(kiln_download ${KILN_DOWNLOAD_SOURCES})
    set_target_properties(kiln_download PROPERTIES OUTPUT_NAME kiln-download)
    target_link_options(kiln_download PRIVATE LINKER:--as-needed)
    target_link_libraries(kiln_download PRIVATE
        kiln_cli_common PkgConfig::KILN_CURL PkgConfig::KILN_ARCHIVE)
    add_dependencies(kiln_cli kiln_download)
endif()
