#!/usr/bin/env bash
# Fetch a public benchmark.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'EOF'
Usage: bash scripts/download_data.sh [NAME] [folder=FOLDER] [hub=huggingface|modelscope] [archive=FILE]

  spider             Spider 1.0 (206 MB; CC BY-SA 4.0) from a copy on the Hugging Face hub, accepted only if it is byte for
                     byte the official archive, and unpacked (1 GB). archive= takes a spider_data.zip that you have; the
                     link to it is on the benchmark's page (yale-lily.github.io). This is the default.
  text2sql_dataset   fahmiaziz/text2sql-dataset
  OWNER/NAME         any data set of the hub; large files are checked against the hub's own checksums

Files go to data/cache/<name>. Started again after it broke off, it goes on where it stopped.
Then: bash scripts/prepare_data.sh recipes/data/spider.yaml folder=data/cache/spider

Environment variables:
  HF_TOKEN, HF_ENDPOINT, MODELSCOPE_API_TOKEN    as the hubs' own tools read them
EOF
}
wants_help "$@" && { usage; exit 0; }
name=spider folder="" archive="" hub=huggingface
for argument in "$@"; do
  case "$argument" in
    folder=*) folder="${argument#folder=}" ;;
    archive=*) archive="$(absolute "${argument#archive=}")" ;;
    hub=huggingface | hub=modelscope) hub="${argument#hub=}" ;;
    spider | text2sql_dataset | */*) name="$argument" ;;
    *) die "$argument: unknown; see --help" ;;
  esac
done
if [ "$name" != spider ]; then
  repository="$name"
  [ "$name" != text2sql_dataset ] || repository=fahmiaziz/text2sql-dataset
  folder="${folder:-data/cache/${name##*/}}"
  use_env train
  run text2sql fetch dataset "$repository" "$folder" "$hub"
  note "$folder: ready; next: bash scripts/prepare_data.sh with a recipe of recipes/data and folder=$folder"
  exit 0
fi
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
  run text2sql fetch dataset "$repository" data/cache/download
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
