# Fuzz.cmake - tests/fuzz/fuzz_NAME.c: with KILN_FUZZ (clang's libFuzzer, preset fuzz) a fuzzer, else a
# program that runs the same function on a corpus and on variants of it, as an ordinary test.
file(GLOB KILN_FUZZ_TARGETS CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
file(GLOB KILN_FUZZ_picture CONFIGURE_DEPENDS tests/data/images/*.jpg tests/data/images/*.png
    tests/fuzz/seeds/picture_*)
file(GLOB KILN_FUZZ_exif CONFIGURE_DEPENDS tests/data/images/exif_*)
file(GLOB KILN_FUZZ_safetensors CONFIGURE_DEPENDS tests/data/safetensors/*.safetensors)
file(GLOB KILN_FUZZ_args CONFIGURE_DEPENDS tests/fuzz/seeds/args_*.txt)
file(GLOB KILN_FUZZ_resume CONFIGURE_DEPENDS tests/fuzz/seeds/resume_*.json)

# Variants of each file of a corpus.
set(KILN_FUZZ_VARIANTS_picture 100)
set(KILN_FUZZ_VARIANTS_exif 500)
set(KILN_FUZZ_VARIANTS_safetensors 5000)
set(KILN_FUZZ_VARIANTS_args 5000)
set(KILN_FUZZ_VARIANTS_resume 5000)

add_custom_target(fuzzers)
foreach(source ${KILN_FUZZ_TARGETS})
    cmake_path(GET source STEM target)
    string(REPLACE "fuzz_" "" name ${target})
    add_executable(${target} ${source})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_include_directories(${target} PRIVATE src tests/fuzz)
    target_link_libraries(${target} PRIVATE kiln_cli_parts kiln_static kiln_flags kiln_deps)
    add_dependencies(fuzzers ${target})
    if(KILN_FUZZ)
        # Its corpus to begin with, for whoever runs it.
        file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/corpus/${name})
        file(COPY ${KILN_FUZZ_${name}} DESTINATION ${CMAKE_BINARY_DIR}/corpus/${name})
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
        target_sources(${target} PRIVATE tests/fuzz/replay.c)
        add_test(NAME fuzz.${name} COMMAND ${target} ${KILN_FUZZ_VARIANTS_${name}} ${KILN_FUZZ_${name}})
        kiln_register(fuzz.${name} unit)
    endif()
endforeach()
