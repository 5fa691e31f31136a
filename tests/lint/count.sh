#!/bin/sh
# count.sh SOURCE - tests/count.awk counts cases, whole programs, skips, crashes and broken logs.
want='5 4 4'
have=$(awk -f "$1/tests/count.awk" <<'END'
1/6 Testing: cases
[  PASSED  ] 3 test(s).
[  SKIPPED ] 2 test(s), listed below:
Test Passed.
2/6 Testing: cases_one_fails
[  PASSED  ] 1 test(s).
[  FAILED  ] 1 test(s), listed below:
Test Failed.
3/6 Testing: cases_then_a_leak
[  PASSED  ] 0 test(s).
Test Failed.
4/6 Testing: program
Test Passed.
5/6 Testing: program_skipped
Test Skipped.
6/6 Testing: program_failed
Test Failed.
7/6 Testing: program_skips_by_what_it_says
Test Pass Reason:
Skip regular expression found in output. Regex=[(^|
)SKIPPED: ]
8/6 Testing: log_cut_off
END
)
echo "want $want, have $have"
[ "$want" = "$have" ]
