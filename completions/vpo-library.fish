# fish completion of vpo-library and the six programs that it runs.

function __vpo_library_command --description "The command of vpo-library on the line, if there is one"
    set -l words (commandline -opc)
    set -e words[1]
    set -l value no
    for word in $words
        if test $value = yes
            set value no
            continue
        end
        switch $word
            case --db --backup-dir --timeout --log --format
                set value yes
            case '-*'
            case '*'
                echo $word
                return
        end
    end
end

function __vpo_library_is --description "True if the command of vpo-library is this one"
    test "$argv" = "$(__vpo_library_command)"
end

function __vpo_library_age --description "How long ago a time of a name was, on a line"
    set -l t (string match -r -- '^(\d{4})-(\d\d)-(\d\d)T(\d\d)-?(\d\d)-?(\d\d)Z' $argv)
    # The years begin in March, so that a leap day ends one. Counted are the days since the year 0.
    set -l year $t[2]
    set -l month $t[3]
    if test $month -lt 3
        set year (math $year - 1)
        set month (math $month + 12)
    end
    set -l days (math "365 * $year + floor($year / 4) - floor($year / 100) + floor($year / 400)" \
        "+ floor((153 * ($month - 3) + 2) / 5) + $t[4]")
    # 719469 of them were before 1970.
    set -l seconds (math (date +%s) "- (($days - 719469) * 86400 + $t[5] * 3600 + $t[6] * 60 + $t[7])")
    set -l sizes 31536000 2592000 86400 3600 60
    set -l units year month day hour minute
    for i in (seq (count $units))
        if test $seconds -ge $sizes[$i]
            set -l n (math "floor($seconds / $sizes[$i])")
            test $n -eq 1; and echo "1 $units[$i] ago"; or echo "$n $units[$i]s ago"
            return
        end
    end
    test $seconds -ge 0; and echo 'just now'; or echo
end

# By their times, which 'restore', 'verify' and 'diff' take as names; by their whole names for who has begun one, and
# where a name holds no time.
function __vpo_library_backups --description "The backups, newest first and safety backups last, with their ages"
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l directory
    for i in (seq (count $words))
        switch $words[$i]
            case --backup-dir
                set directory --path (string replace -r '^~' $HOME -- $words[(math $i + 1)])
            case '--backup-dir=*'
                set directory --path (string replace -r '^--backup-dir=' '' -- $words[$i] | string replace -r '^~' $HOME)
        end
    end
    printf '%s\t%s\n' latest 'the newest backup' replaced 'the newest safety backup'
    set -l replaced
    for name in (vpo-ls-backups --names $directory 2>/dev/null | string replace -r '.*/' '')
        set -l form '^vpo-library-(\d{4}-\d\d-\d\dT[\d-]{6,8}Z(?:-replaced)?(?:-\d+)?)\.tar\.gz$'
        set -l time (string match -r -- $form $name)[2]
        set -l word $name
        set -l age backup
        if test -n "$time"
            set age (__vpo_library_age $time)
            string match -q 'v*' -- $current; or set word $time
        end
        if string match -q '*-replaced*' -- $time
            set -a replaced $word\t$age
        else
            echo $word\t$age
        end
    end
    string join \n -- $replaced
end

function __vpo_library_takes_backups --description "True if the operands of the command are backups"
    contains -- (__vpo_library_command) restore verify diff
end

function __vpo_library_archives --description "Files that may be backups, and directories"
    __fish_complete_suffix .tar.gz
end

complete -c vpo-snapshot -F
complete -c vpo-snapshot -l no-check -d 'do not run quick_check meanwhile'
complete -c vpo-snapshot -l stats -r -F -d 'write facts about the database to a file'
complete -c vpo-snapshot -l timeout -x -d 'how long to wait for a lock'
complete -c vpo-snapshot -l progress -d 'draw a progress bar'
complete -c vpo-snapshot -s q -l quiet -d 'no reports'
complete -c vpo-snapshot -s v -l verbose -d 'say more on stderr'
complete -c vpo-snapshot -s h -l help -d 'print a help text'
complete -c vpo-snapshot -s V -l version -d 'print the version'

complete -c vpo-pack -f
complete -c vpo-pack -s l -l level -x -a '(seq 0 12)' -d 'compression level'
complete -c vpo-pack -s t -l threads -x -d 'number of compression threads'
complete -c vpo-pack -l stats -r -F -d 'facts about the database'
complete -c vpo-pack -l reuse -r -F -d 'earlier archive to copy from'
complete -c vpo-pack -l source -x -d 'the library that was read, HOST:PATH'
complete -c vpo-pack -l created-at -x -d 'time of the backup, RFC 3339'
complete -c vpo-pack -l vpo-version -x -d 'version for the metadata'
complete -c vpo-pack -l progress -d 'draw a progress bar'
complete -c vpo-pack -s q -l quiet -d 'no reports'
complete -c vpo-pack -s v -l verbose -d 'say more on stderr'
complete -c vpo-pack -s h -l help -d 'print a help text'
complete -c vpo-pack -s V -l version -d 'print the version'

complete -c vpo-verify -f
complete -c vpo-verify -a '(__vpo_library_archives)'
complete -c vpo-verify -l save -x -a '(__vpo_library_archives)' -d 'keep the archive from stdin if it is valid'
complete -c vpo-verify -l full -d 'check indexes and references too'
complete -c vpo-verify -l no-database-check -d 'check only the archive'
complete -c vpo-verify -l json -d 'report as one JSON document'
complete -c vpo-verify -l progress -d 'draw a progress bar'
complete -c vpo-verify -s q -l quiet -d 'no reports'
complete -c vpo-verify -s v -l verbose -d 'say more on stderr'
complete -c vpo-verify -s h -l help -d 'print a help text'
complete -c vpo-verify -s V -l version -d 'print the version'

complete -c vpo-unpack-restore -f
complete -c vpo-unpack-restore -a '(__vpo_library_archives)'
complete -c vpo-unpack-restore -l db -r -F -d 'the library'
complete -c vpo-unpack-restore -s y -l yes -d 'replace an existing library without asking'
complete -c vpo-unpack-restore -l dry-run -d 'make every check and change nothing'
complete -c vpo-unpack-restore -l safety-dir -x -a '(__fish_complete_directories)' -d 'keep the replaced library there'
complete -c vpo-unpack-restore -l no-safety-backup -d 'do not keep the replaced library'
complete -c vpo-unpack-restore -l current-schema -x -d 'schema of the installed VPO'
complete -c vpo-unpack-restore -l timeout -x -d 'how long to wait for a lock'
complete -c vpo-unpack-restore -l json -d 'report as one JSON document'
complete -c vpo-unpack-restore -l progress -d 'draw a progress bar'
complete -c vpo-unpack-restore -s q -l quiet -d 'no reports'
complete -c vpo-unpack-restore -s v -l verbose -d 'say more on stderr'
complete -c vpo-unpack-restore -s h -l help -d 'print a help text'
complete -c vpo-unpack-restore -s V -l version -d 'print the version'

complete -c vpo-ls-backups -f
complete -c vpo-ls-backups -a '(__fish_complete_directories)'
complete -c vpo-ls-backups -s p -l path -x -a '(__fish_complete_directories)' -d 'the directory'
complete -c vpo-ls-backups -l names -d 'print only the paths, one per line'
complete -c vpo-ls-backups -s 0 -l null -d 'print only the paths, each followed by a NUL'
complete -c vpo-ls-backups -l max-age -x -a '26h 2d 8d' -d 'exit 1 unless a good backup is younger'
complete -c vpo-ls-backups -l source -x -d 'only the backups of this library'
complete -c vpo-ls-backups -l expired -d 'list only what no keep rule keeps'
complete -c vpo-ls-backups -l keep-last -x -a '3 10 30' -d 'keep this many, the newest'
complete -c vpo-ls-backups -l keep-within -x -a '7d 5w 1y' -d 'keep those younger than the newest by less than this'
complete -c vpo-ls-backups -l keep-hourly -x -d 'keep the newest of this many hours'
complete -c vpo-ls-backups -l keep-daily -x -d 'keep the newest of this many days'
complete -c vpo-ls-backups -l keep-weekly -x -d 'keep the newest of this many weeks'
complete -c vpo-ls-backups -l keep-monthly -x -d 'keep the newest of this many months'
complete -c vpo-ls-backups -l keep-yearly -x -d 'keep the newest of this many years'
complete -c vpo-ls-backups -l keep-replaced -x -a '7d 5w 1y' -d 'keep safety backups not older than this'
complete -c vpo-ls-backups -l one-source -d 'treat all as backups of one library'
complete -c vpo-ls-backups -l json -d 'report as one JSON document'
complete -c vpo-ls-backups -s q -l quiet -d 'no reports'
complete -c vpo-ls-backups -s v -l verbose -d 'say more on stderr'
complete -c vpo-ls-backups -s h -l help -d 'print a help text'
complete -c vpo-ls-backups -s V -l version -d 'print the version'

complete -c vpo-diff -F
complete -c vpo-diff -l stat -d 'only the counts, and the rows of other tables'
complete -c vpo-diff -s 0 -l null -d 'end each path with a NUL'
complete -c vpo-diff -l json -d 'report as one JSON document'
complete -c vpo-diff -s q -l quiet -d 'no reports'
complete -c vpo-diff -s v -l verbose -d 'say more on stderr'
complete -c vpo-diff -s h -l help -d 'print a help text'
complete -c vpo-diff -s V -l version -d 'print the version'

complete -c vpo-library -f
complete -c vpo-library -n '__vpo_library_is' -a backup -d 'make a backup of the library'
complete -c vpo-library -n '__vpo_library_is' -a restore -d 'restore the library from a backup'
complete -c vpo-library -n '__vpo_library_is' -a backups -d 'list the backups'
complete -c vpo-library -n '__vpo_library_is' -a verify -d 'prove that backups are whole'
complete -c vpo-library -n '__vpo_library_is' -a prune -d 'remove old backups'
complete -c vpo-library -n '__vpo_library_is' -a diff -d 'show what is known differently'
complete -c vpo-library -n '__vpo_library_is' -a help -d 'print the help of a command'
complete -c vpo-library -n '__vpo_library_is help' -a 'backup restore backups verify diff prune'
complete -c vpo-library -l db -r -F -d 'the library'
complete -c vpo-library -l backup-dir -x -a '(__fish_complete_directories)' -d 'where backups are'
complete -c vpo-library -l timeout -x -d 'how long to wait for a lock'
complete -c vpo-library -l log -r -F -d 'append a JSON line about the run'
complete -c vpo-library -l json -d 'report as one JSON document'
complete -c vpo-library -l format -x -a json -d 'form of the report'
complete -c vpo-library -s q -l quiet -d 'no reports'
complete -c vpo-library -s v -l verbose -d 'say more on stderr'
complete -c vpo-library -s h -l help -d 'print a help text'
complete -c vpo-library -s V -l version -d 'print the version'
complete -c vpo-library -n '__vpo_library_is backup' -s o -l output -r -F -d 'where to write it'
complete -c vpo-library -n '__vpo_library_is backup' -s l -l level -x -a '(seq 0 12)' -d 'compression level'
complete -c vpo-library -n '__vpo_library_is backup' -l no-check -d 'do not run quick_check meanwhile'
complete -c vpo-library -n '__vpo_library_is backup' -l no-reuse -d 'copy nothing from the last backup'
complete -c vpo-library -n '__vpo_library_is backup' -l verify -d 'read the finished file back'
complete -c vpo-library -n '__vpo_library_is backup' -l dry-run -d 'show what the backup would be'
complete -c vpo-library -n '__vpo_library_is restore' -s y -l yes -d 'without asking'
complete -c vpo-library -n '__vpo_library_is restore' -l dry-run -d 'make every check and change nothing'
complete -c vpo-library -n '__vpo_library_is restore' -l no-safety-backup -d 'do not keep the replaced library'
complete -c vpo-library -n '__vpo_library_is restore' -l current-schema -x -d 'schema of the installed VPO'
complete -c vpo-library -n '__vpo_library_is backups' -s p -l path -x -a '(__fish_complete_directories)' -d 'list this directory'
complete -c vpo-library -n '__vpo_library_is backups' -l max-age -x -a '26h 2d 8d' -d 'exit 1 unless a good backup is younger'
complete -c vpo-library -n '__vpo_library_is verify' -l full -d 'check indexes and references too'
complete -c vpo-library -n '__vpo_library_is verify' -l newest -x -d 'verify the newest ones'
complete -c vpo-library -n '__vpo_library_is prune' -l keep-last -x -a '3 10 30' -d 'keep this many, the newest'
complete -c vpo-library -n '__vpo_library_is prune' -l keep-within -x -a '7d 5w 1y' -d 'keep those younger than the newest by less than this'
complete -c vpo-library -n '__vpo_library_is prune' -l keep-hourly -x -d 'keep the newest of this many hours'
complete -c vpo-library -n '__vpo_library_is prune' -l keep-daily -x -d 'keep the newest of this many days'
complete -c vpo-library -n '__vpo_library_is prune' -l keep-weekly -x -d 'keep the newest of this many weeks'
complete -c vpo-library -n '__vpo_library_is prune' -l keep-monthly -x -d 'keep the newest of this many months'
complete -c vpo-library -n '__vpo_library_is prune' -l keep-yearly -x -d 'keep the newest of this many years'
complete -c vpo-library -n '__vpo_library_is prune' -l keep-replaced -x -a '7d 5w 1y' -d 'keep safety backups not older than this'
complete -c vpo-library -n '__vpo_library_is prune' -l one-source -d 'treat all as backups of one library'
complete -c vpo-library -n '__vpo_library_is prune' -s y -l yes -d 'without asking'
complete -c vpo-library -n '__vpo_library_is prune' -l dry-run -d 'show what would go'
complete -c vpo-library -n '__vpo_library_is prune' -l no-verify -d 'do not verify the newest backups first'
complete -c vpo-library -n '__vpo_library_is diff' -l stat -d 'only the counts, and the rows of other tables'
complete -c vpo-library -n __vpo_library_takes_backups -a '(__vpo_library_archives)'
complete -c vpo-library -n __vpo_library_takes_backups -k -a '(__vpo_library_backups)'
