package storetest

// Transactions, reopening and second stores follow.
var transactCases, completeCases, lockCases, durableCases, secondCases []testCase
