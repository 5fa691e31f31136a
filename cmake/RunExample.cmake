# RunExample.cmake - runs PROGRAM in a fresh FOLDER; it must exit 0 and, if the file EXPECTED exists,
# print exactly that.
file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER})
execute_process(COMMAND ${PROGRAM} WORKING_DIRECTORY ${FOLDER}
                OUTPUT_VARIABLE printed RESULT_VARIABLE result)
message("${printed}")
if(NOT result EQUAL 0)
    message(FATAL_ERROR "${PROGRAM}: ended with ${result}")
endif()
if(EXISTS ${EXPECTED})
    file(READ ${EXPECTED} expected)
    if(NOT printed STREQUAL expected)
        message(FATAL_ERROR "printed something else than ${EXPECTED}:\n${expected}")
    endif()
endif()
