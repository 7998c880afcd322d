module benchmarks/native

go 1.21
