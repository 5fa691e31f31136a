# RunExample.cmake - runs PROGRAM in FOLDER, emptied before if FRESH, and compares what it prints with
# the file EXPECTED, if that exists. It must exit 0.
#
# DATA none: a program that needs no pictures must print exactly what EXPECTED holds. DATA shapes
# and DATA imagenette: it runs on the pictures it draws itself, or on those of KILN_TEST_DATA, and
# numbers depend on the processor; so each line of EXPECTED is a regular expression that the whole
# of the printed line must match.
if(DATA STREQUAL "imagenette")
    if("$ENV{KILN_TEST_DATA}" STREQUAL "")
        message("SKIPPED: an example on real pictures: KILN_TEST_DATA is not set")
        return()
    endif()
    file(REAL_PATH "$ENV{KILN_TEST_DATA}" data BASE_DIRECTORY ${SOURCE_DIR})
    set(ENV{KILN_TEST_DATA} ${data})
else()
    unset(ENV{KILN_TEST_DATA})
endif()

if(FRESH)
    file(REMOVE_RECURSE ${FOLDER})
endif()
file(MAKE_DIRECTORY ${FOLDER})
execute_process(COMMAND ${PROGRAM} WORKING_DIRECTORY ${FOLDER}
                OUTPUT_VARIABLE printed RESULT_VARIABLE result)
message("${printed}")
if(NOT result EQUAL 0)
    message(FATAL_ERROR "${PROGRAM}: ended with ${result}")
endif()

# The first line of the variable text into line, the rest into text.
macro(next_line text line)
    string(FIND "${${text}}" "\n" end)
    string(SUBSTRING "${${text}}" 0 ${end} ${line})
    math(EXPR end "${end} + 1")
    if(end EQUAL 0) # no newline was left
        set(${text} "")
    else()
        string(SUBSTRING "${${text}}" ${end} -1 ${text})
    endif()
endmacro()

if(NOT EXISTS ${EXPECTED})
    return()
endif()
file(READ ${EXPECTED} expected)
if(DATA STREQUAL "none")
    if(NOT printed STREQUAL expected)
        message(FATAL_ERROR "printed something else than ${EXPECTED}:\n${expected}")
    endif()
    return()
endif()
while(NOT expected STREQUAL "" OR NOT printed STREQUAL "")
    next_line(expected pattern)
    next_line(printed line)
    if(NOT line MATCHES "^(${pattern})$")
        message(FATAL_ERROR "printed\n${line}\nwhere ${EXPECTED} has\n${pattern}")
    endif()
endwhile()
