#!/usr/bin/env bash
# Weather from the command line: one file a station, imported, charted, revised, diffed and pushed.
#
#   examples/weather.sh FOLDER
#
# FOLDER has a CSV file for each station, with a column `date` and numbers beside it.
set -euo pipefail
data=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

echo "# import: every file a series, all in one commit"
lakota import "$data/*.csv" --collection weather --index date --message "as published"
lakota ls weather
lakota len weather

station=$(lakota ls weather | tail -n 1)
column=$(lakota schema weather | sed -n 2p | cut -d ' ' -f 1)

echo "# chart: $column at $station"
lakota read "weather/$station" "$column" --plot
lakota read weather "round(avg($column), 1) as mean" --group-by label

echo "# revise: the first of January is wrong"
lakota tag weather published
lakota read "weather/$station" date "$column + 1 as $column" \
    --where "date = date '2015-01-01'" > correction.csv
lakota write "weather/$station" correction.csv --upsert --message "one degree more"
lakota log weather

echo "# diff: what changed since"
lakota diff weather published && exit 1 || test $? = 1
lakota vintages "weather/$station" published HEAD \
    --start 2015-01-01 --stop 2015-01-02 --select "$column"
lakota history "weather/$station" 2015-01-01 --format ndjson

echo "# push: to a second repo, which holds the same then"
lakota pack
lakota remote add archive "$work/archive"
lakota push archive
lakota status
lakota read weather --format ndjson > here
lakota -r archive read weather --format ndjson | cmp - here
lakota -r archive check
