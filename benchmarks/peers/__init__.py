"""The methods nextoffer is measured against, written from their papers or called from their packages."""
