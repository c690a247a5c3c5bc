# bash completion of vpo-library and the six programs that it runs. Needs bash 4 and sort(1).

# The directory of the backups, as far as the command line names one: what vpo-ls-backups has to be told.
_vpo_library_directory() {
    local i word unquoted
    directory=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            --backup-dir | --path | -p)
                word=${COMP_WORDS[i + 1]}
                # '=' is a word of its own.
                [[ $word == = ]] && word=${COMP_WORDS[i + 2]}
                _vpo_library_unquoted "$word"
                # shellcheck disable=SC2088 # it is not expanded yet
                case $unquoted in
                    '~') unquoted=$HOME ;;
                    '~/'*) unquoted=$HOME/${unquoted#*/} ;;
                esac
                directory=(--path "$unquoted")
                ;;
        esac
    done
}

# The backups, newest first and safety backups last: by their times, which 'restore', 'verify' and 'diff' take as names;
# by their whole names for who has begun one, and where a name holds no time.
_vpo_library_backups() {
    local directory name time replaced=()
    local form='^vpo-library-([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9-]{6,8}Z(-replaced)?(-[0-9]+)?)\.tar\.gz$'
    _vpo_library_directory
    # Bash 4.4 can keep the order.
    compopt -o nosort 2>/dev/null
    _vpo_library_words 'latest replaced'
    while IFS= read -r name; do
        name=${name##*/} time=''
        [[ $name =~ $form ]] && time=${BASH_REMATCH[1]}
        [[ $current == v* ]] || name=${time:-$name}
        [[ $name == "$current"* ]] || continue
        if [[ $time == *-replaced* ]]; then
            replaced+=("$name")
        else
            COMPREPLY+=("$name")
        fi
    done < <(vpo-ls-backups --names "${directory[@]}" 2>/dev/null)
    COMPREPLY+=("${replaced[@]}")
    _vpo_library_files .tar.gz
}

_vpo_library_words() {
    # shellcheck disable=SC2207 # none of these words has a space in it
    COMPREPLY+=($(compgen -W "$1" -- "$current"))
}

# A word as it stands on the line, without its quotes; nothing is expanded.
_vpo_library_unquoted() {
    unquoted=${1//[\\\"\']/}
}

# Files (compgen -f) with names that end so, and the directories on the way to them; or directories alone (compgen -d).
_vpo_library_paths() {
    local name unquoted
    compopt -o filenames 2>/dev/null
    _vpo_library_unquoted "$current"
    while IFS= read -r name; do
        # Hidden ones only for who asks for them.
        [[ ${name##*/} == .* && ${unquoted##*/} != .* ]] && continue
        # shellcheck disable=SC2088 # compgen leaves a ~ as it is
        if [[ -z $2 || $name == *"$2" || -d $name || ($name == '~/'* && -d $HOME/${name#*/}) ]]; then
            COMPREPLY+=("$name")
        fi
    done < <(compgen "$1" -- "$unquoted" | sort)
}

_vpo_library_files() {
    _vpo_library_paths -f "$1"
}

_vpo_library_directories() {
    _vpo_library_paths -d ''
}

# The value of an option; false if it takes none.
_vpo_library_value() {
    case $1 in
        --backup-dir | --safety-dir | --path | -p) _vpo_library_directories ;;
        --output | -o | --save | --reuse) _vpo_library_files .tar.gz ;;
        --db | --log | --stats) _vpo_library_files '' ;;
        --format) _vpo_library_words json ;;
        --level | -l) _vpo_library_words '0 1 2 3 4 5 6 7 8 9 10 11 12' ;;
        --max-age) _vpo_library_words '26h 2d 8d' ;;
        --keep-within | --keep-replaced) _vpo_library_words '7d 5w 1y' ;;
        --keep-*) _vpo_library_words '3 5 7 12' ;;
        --newest | --source | --timeout | --current-schema | --threads | -t | --created-at | --vpo-version) ;;
        *) return 1 ;;
    esac
}

_vpo_library() {
    local program=${1##*/} current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local options command='' ended='' i
    local keep='--keep-last --keep-within --keep-hourly --keep-daily --keep-weekly --keep-monthly --keep-yearly'
    keep+=' --keep-replaced --one-source'
    COMPREPLY=()
    if [[ $current == = ]]; then
        current=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi

    case $program in
        vpo-snapshot) options='--no-check --stats --timeout --progress' ;;
        vpo-pack) options='-l --level -t --threads --stats --reuse --source --created-at --vpo-version --progress' ;;
        vpo-verify) options='--save --full --no-database-check --json --progress' ;;
        vpo-unpack-restore)
            options='--db -y --yes --dry-run --safety-dir --no-safety-backup --current-schema --timeout --json --progress'
            ;;
        vpo-ls-backups) options="-p --path --names -0 --null --max-age --source --expired $keep --json" ;;
        vpo-diff) options='--stat -0 --null --json' ;;
        vpo-library)
            options='--db --backup-dir --timeout --log --json --format'
            for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                    --db | --backup-dir | --timeout | --log | --format)
                        ((i++))
                        [[ ${COMP_WORDS[i]} == = ]] && ((i++))
                        ;;
                    -*) ;;
                    *)
                        command=${COMP_WORDS[i]}
                        break
                        ;;
                esac
            done
            case $command in
                backup) options+=' -o --output -l --level --no-check --no-reuse --verify --dry-run' ;;
                restore) options+=' -y --yes --dry-run --no-safety-backup --current-schema' ;;
                backups) options+=' -p --path --max-age' ;;
                diff) options+=' --stat' ;;
                verify) options+=' --full --newest' ;;
                prune) options+=" -y --yes --dry-run --no-verify $keep" ;;
            esac
            ;;
    esac
    options+=' -q --quiet -v --verbose -h --help -V --version'

    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -- ]] && ended=yes
    done
    if [[ -z $ended ]]; then
        _vpo_library_value "$previous" && return
        if [[ $current == -* ]]; then
            _vpo_library_words "$options"
            return
        fi
    fi

    case $program${command:+ $command} in
        vpo-library) _vpo_library_words 'backup restore backups verify diff prune help' ;;
        'vpo-library help') _vpo_library_words 'backup restore backups verify diff prune' ;;
        'vpo-library restore' | 'vpo-library verify' | 'vpo-library diff') _vpo_library_backups ;;
        vpo-verify | vpo-unpack-restore) _vpo_library_files .tar.gz ;;
        vpo-ls-backups) _vpo_library_directories ;;
        vpo-snapshot | vpo-diff) _vpo_library_files '' ;;
    esac
}

complete -F _vpo_library vpo-library vpo-snapshot vpo-pack vpo-verify vpo-unpack-restore vpo-ls-backups vpo-diff
