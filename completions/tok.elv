
set edit:completion:arg-completer[tok] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) _TOK_COMPLETE="elvish" tok -- $@words) | to-lines
}

