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
  bird               BIRD's train.zip (9 GB) and dev.zip from its own server, unpacked with their databases and descriptions
                     (33 GB; CC BY-SA 4.0). archive= takes one of the two that you have, and fetches nothing.
  text2sql_dataset   fahmiaziz/text2sql-dataset
  synthetic_text_to_sql    gretelai/synthetic_text_to_sql
  OWNER/NAME         any data set of the hub; large files are checked against the hub's own checksums

Files go to data/cache/<name>. Started again after it broke off, it goes on where it stopped.
Then: bash scripts/prepare_data.sh recipes/data/spider.yaml folder=data/cache/spider

Environment variables:
  HF_TOKEN, HF_ENDPOINT, MODELSCOPE_API_TOKEN    as the hubs' own tools read them
  BIRD_SERVER                                    where BIRD's archives are, in place of its own server
EOF
}
wants_help "$@" && { usage; exit 0; }
name=spider folder="" archive="" hub=huggingface
for argument in "$@"; do
  case "$argument" in
    folder=*) folder="${argument#folder=}" ;;
    archive=*) archive="$(absolute "${argument#archive=}")" ;;
    hub=huggingface | hub=modelscope) hub="${argument#hub=}" ;;
    spider | bird | text2sql_dataset | synthetic_text_to_sql | */*) name="$argument" ;;
    *) die "$argument: unknown; see --help" ;;
  esac
done
folder="${folder:-data/cache/${name##*/}}"

unzip_into() { # ARCHIVE FOLDER
  note "unpacking $1"
  python -m zipfile -e "$1" "$2" || die "$1 could not be unpacked; is it whole, and is the disk full?"
}

# One half of BIRD: its archive holds a folder with the questions and another archive with the databases.
bird_half() { # train|dev ARCHIVE
  local half="$1" given="$2" target="$folder/$1" partial="$folder/$1.partial" questions inner
  if [ -f "$target/.complete" ]; then
    note "$target: ready"
    return
  fi
  if [ -z "$given" ]; then
    given="data/cache/download/$half.zip"
    mkdir -p data/cache/download
    if [ ! -f "$given" ]; then
      run curl --fail --location --continue-at - --output "$given.partial" \
        "${BIRD_SERVER:-https://bird-bench.oss-cn-beijing.aliyuncs.com}/$half.zip" ||
        die "$half.zip could not be fetched; start again: it goes on where it stopped. Without network: archive=$half.zip"
      mv "$given.partial" "$given"
    fi
  fi
  [ -f "$given" ] || die "$given: no such file"
  rm -rf "$partial"
  mkdir -p "$partial"
  unzip_into "$given" "$partial"
  questions="$(find "$partial" -name "$half.json" -not -path '*/__MACOSX/*' | head -n 1)"
  [ -n "$questions" ] || die "$given holds no $half.json; is it BIRD's $half.zip?"
  inner="$(dirname "$questions")"
  if [ -f "$inner/${half}_databases.zip" ]; then
    unzip_into "$inner/${half}_databases.zip" "$inner"
    rm "$inner/${half}_databases.zip"
  fi
  [ -d "$inner/${half}_databases" ] || die "$given holds no ${half}_databases"
  touch "$inner/.complete"
  rm -rf "$target"
  mv "$inner" "$target"
  rm -rf "$partial"
  note "$target: ready"
}

if [ "$name" = bird ]; then
  use_env train
  case "$(basename "$archive")" in
    "") halves="train dev" ;;
    train*.zip) halves=train ;;
    *dev*.zip) halves=dev ;;
    *) die "$archive: expected BIRD's train.zip or dev.zip" ;;
  esac
  for half in $halves; do bird_half "$half" "$archive"; done
  note "next: bash scripts/prepare_data.sh recipes/data/bird.yaml folder=$folder database_root=[$folder/train/train_databases,$folder/dev/dev_databases]"
  exit 0
fi
if [ "$name" != spider ]; then
  repository="$name"
  [ "$name" != text2sql_dataset ] || repository=fahmiaziz/text2sql-dataset
  [ "$name" != synthetic_text_to_sql ] || repository=gretelai/synthetic_text_to_sql
  use_env train
  run text2sql fetch dataset "$repository" "$folder" "$hub"
  note "$folder: ready; next: bash scripts/prepare_data.sh with a recipe of recipes/data and folder=$folder"
  exit 0
fi
repository=HAL-9001/spider-databases file=spider_data.zip top=spider_data
checksum=00636695dabed6b5f4b8328a16b13e069a2f16591d5efcce57660669c85b121b
if [ -f "$folder/.complete" ]; then
  note "$folder: ready"
  exit 0
fi
[ ! -e "$folder" ] || die "$folder exists and was not made by this script; give another with folder="
use_env train
mkdir -p data/cache
if [ -z "$archive" ]; then
  archive="data/cache/download/$file"
  run text2sql fetch dataset "$repository" data/cache/download ||
    die "without network, give the archive that you have: archive=$file (its page: yale-lily.github.io)"
fi
[ -f "$archive" ] || die "$archive: no such file"
note "checking and unpacking $archive"
[ "$(sha256sum "$archive" | cut -d' ' -f1)" = "$checksum" ] ||
  die "$archive is not the official archive of $name, or cut short; remove it and start again"
partial="$folder.partial"
rm -rf "$partial"
mkdir -p "$partial"
unzip_into "$archive" "$partial"
touch "$partial/$top/.complete"
mv "$partial/$top" "$folder"
rm -rf "$partial"
note "$folder: ready; next: bash scripts/prepare_data.sh recipes/data/spider.yaml folder=$folder"
