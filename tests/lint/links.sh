#!/bin/sh
# links.sh SOURCE - every file that the documents link to or name in backquotes is there.
cd "$1" || exit 1
status=0
# shellcheck disable=SC2013,SC2016 # no blanks in links; backquotes are meant
for page in *.md docs/*.md examples/*.md; do
    folder=$(dirname "$page")
    for link in $(grep -oE '\]\([^)#]+' "$page" | sed 's/^](//' | grep -vE '^[a-z]+:'); do
        [ -e "$folder/$link" ] || { echo "$page: no $link" && status=1; }
    done
    for path in $(grep -oE '`(src|include|cli|tests|examples|tools|cmake|docs|bench)/[A-Za-z0-9_./-]+`' "$page" |
        tr -d '`' | grep -v NAME); do
        [ -e "$path" ] || { echo "$page: no $path" && status=1; }
    done
done
exit $status
