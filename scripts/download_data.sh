#!/usr/bin/env bash
# Fetch a public benchmark.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/download_data.sh [spider] [folder=FOLDER] [archive=FILE]

Fetches Spider 1.0 (206 MB; CC BY-SA 4.0) from a copy on the Hugging Face hub, accepts it only if it is byte for byte the
official archive, and unpacks it into data/cache/spider (1 GB). Started again after it broke off, it goes on where it
stopped. archive= takes a spider_data.zip that you have; the link to it is on the benchmark's page (yale-lily.github.io).
Then: bash scripts/prepare_data.sh recipes/data/spider.yaml folder=data/cache/spider

Environment variables:
  HF_TOKEN, HF_ENDPOINT    as the hub's own tool reads them
EOF
}
wants_help "$@" && { usage; exit 0; }
name=spider folder="" archive=""
for argument in "$@"; do
  case "$argument" in
    spider) ;;
    folder=*) folder="${argument#folder=}" ;;
    archive=*) archive="$(absolute "${argument#archive=}")" ;;
    *) die "$argument: unknown; see --help" ;;
  esac
done
repository=HAL-9001/spider-databases file=spider_data.zip top=spider_data
checksum=00636695dabed6b5f4b8328a16b13e069a2f16591d5efcce57660669c85b121b
folder="${folder:-data/cache/$name}"
if [ -f "$folder/.complete" ]; then
  note "$folder: ready"
  exit 0
fi
[ ! -e "$folder" ] || die "$folder exists and was not made by this script; give another with folder="
use_env train
mkdir -p data/cache
if [ -z "$archive" ]; then
  archive="data/cache/download/$file"
  run python -m text2sql.fetch dataset "$repository" data/cache/download
fi
[ -f "$archive" ] || die "$archive: no such file"
note "checking and unpacking $archive"
[ "$(sha256sum "$archive" | cut -d' ' -f1)" = "$checksum" ] ||
  die "$archive is not the official archive of $name, or cut short; remove it and start again"
partial="$folder.partial"
rm -rf "$partial"
mkdir -p "$partial"
python -m zipfile -e "$archive" "$partial" || die "$archive could not be unpacked; is the disk full?"
touch "$partial/$top/.complete"
mv "$partial/$top" "$folder"
rm -rf "$partial"
note "$folder: ready; next: bash scripts/prepare_data.sh recipes/data/spider.yaml folder=$folder"
